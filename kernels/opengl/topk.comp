#version 430
// TopK: the k largest of every row, in falling order, and where they stand; NaN
// is the largest, and of equals the one that stands first comes first. One
// invocation a row, one pass over it for each result. Model: tensor.TopK.
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer Y { TYPE y[]; };
layout(std430, binding = 1) writeonly buffer I { int id[]; };
layout(std430, binding = 2) readonly buffer X { TYPE x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int id0;
layout(location = 2) uniform int x0;
layout(location = 3) uniform int rows;
layout(location = 4) uniform int n;
layout(location = 5) uniform int k;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int r = int(gl_GlobalInvocationID.x); r < rows; r += step) {
        int last = -1;
        TYPE lastV = x[x0 + r * n];
        for (int c = 0; c < k; c++) {
            int best = -1;
            TYPE bestV = lastV;
            for (int j = 0; j < n; j++) {
                TYPE v = x[x0 + r * n + j];
                // v comes after what was taken last …
                bool open = last < 0 || above(lastV, v) || (!above(v, lastV) && j > last);
                if (open && (best < 0 || above(v, bestV))) { // … and before all others so far
                    best = j;
                    bestV = v;
                }
            }
            y[y0 + r * k + c] = bestV;
            id[id0 + r * k + c] = best;
            last = best;
            lastV = bestV;
        }
    }
}
