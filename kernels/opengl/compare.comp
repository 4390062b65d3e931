#version 430
// Less, LessEqual, Equal: y = OP(a, b), a byte of 0 or 1 an element, y contiguous.
// An invocation writes the four bytes of a word. Model: tensor.Less on the CPU.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer Y { uint y[]; };
layout(std430, binding = 1) readonly buffer A { TYPE a[]; };
layout(std430, binding = 2) readonly buffer B { TYPE b[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int a0;
layout(location = 2) uniform int b0;
layout(location = 3) uniform int n;
layout(location = 4) uniform int rank;
layout(location = 5) uniform int shape[8];
layout(location = 13) uniform int asteps[8];
layout(location = 21) uniform int bsteps[8];

bool number(float x) { return !isNaN(x); }
bool number(int x) { return true; }

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int w = int(gl_GlobalInvocationID.x); w < (n + 3) / 4; w += step) {
        uint word = 0u;
        for (int i = 4 * w; i < min(4 * w + 4, n); i++) {
            int rest = i, ai = a0, bi = b0;
            for (int x = rank - 1; x >= 0; x--) {
                int q = rest / shape[x], k = rest - q * shape[x];
                ai += k * asteps[x];
                bi += k * bsteps[x];
                rest = q;
            }
            TYPE u = a[ai], v = b[bi];
            if (number(u) && number(v) && OP(u, v)) word |= 1u << (8 * (i & 3));
        }
        y[y0 + w] = word;
    }
}
