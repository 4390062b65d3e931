#version 430
// ReduceSum, ReduceMax: y[o,i] = OP over j of x[o,j,i], x [outer, n, inner].
// Model: the loops of kernels.ReduceSum.
//
// A group of COLS×ROWS lanes takes COLS outputs; lane (c, r) takes every ROWS-th
// j, and a tree over r follows: the order is fixed by the shape.
layout(local_size_x = COLS, local_size_y = ROWS) in;
layout(std430, binding = 0) writeonly buffer Y { float y[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int outer;
layout(location = 3) uniform int n;
layout(location = 4) uniform int inner;

float larger(float a, float b) { return above(b, a) ? b : a; }

shared float part[ROWS][COLS];

void main() {
    uint c = gl_LocalInvocationID.x, r = gl_LocalInvocationID.y;
    int total = outer * inner;
    for (int base = int(gl_WorkGroupID.x) * COLS; base < total; base += int(gl_NumWorkGroups.x) * COLS) {
        int out_i = base + int(c);
        float s = START;
        if (out_i < total) {
            int o = out_i / inner;
            int at = x0 + o * n * inner + (out_i - o * inner);
            for (int j = int(r); j < n; j += ROWS)
                s = OP(s, x[at + j * inner]);
        }
        part[r][c] = s;
        for (uint h = uint(ROWS) / 2u; h > 0u; h >>= 1) {
            syncLanes();
            if (r < h) part[r][c] = OP(part[r][c], part[r + h][c]);
        }
        if (r == 0u && out_i < total) y[y0 + out_i] = part[0][c];
        syncLanes(); // part is written again
    }
}
