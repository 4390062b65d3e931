#version 430
// CumSum: y[o,j,i] = Σ of x[o,l,i] over l ≤ j, or l ≥ j if reverse. One invocation
// a line; floats keep what each addition rounds away. Model: tensor.CumSum.
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Y { TYPE y[]; };
layout(std430, binding = 1) readonly buffer X { TYPE x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int outer;
layout(location = 3) uniform int n;
layout(location = 4) uniform int inner;
layout(location = 5) uniform int reverse;

// add adds v to the sum hi + lo and returns it rounded.
float add(inout float hi, inout float lo, float v) {
    precise float t = hi + v;
    if (!(abs(t) <= 3.40282347e38)) { // no error term of infinities
        hi = t;
        return t;
    }
    precise float b = t - hi;
    precise float e = (hi - (t - b)) + (v - b);
    hi = t;
    lo += e;
    precise float r = hi + lo;
    return r;
}

int add(inout int hi, inout int lo, int v) {
    hi += v;
    return hi;
}

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < outer * inner; e += step) {
        int o = e / inner, at = o * n * inner + (e - o * inner);
        TYPE hi = TYPE(0), lo = TYPE(0);
        for (int l = 0; l < n; l++) {
            int j = at + (reverse != 0 ? n - 1 - l : l) * inner;
            y[y0 + j] = add(hi, lo, x[x0 + j]);
        }
    }
}
