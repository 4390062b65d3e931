#version 430
// SumSquares, first stage: group g sums x² over its run of run elements. Model:
// kernels.SumSquares.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer P { float p[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(location = 0) uniform int p0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int n;
layout(location = 3) uniform int run;

void main() {
    int lo = int(gl_WorkGroupID.x) * run;
    int hi = min(lo + run, n);
    float s = 0.0;
    for (int i = lo + int(gl_LocalInvocationIndex); i < hi; i += 256) {
        float v = x[x0 + i];
        s += v * v;
    }
    s = sumLanes(s);
    if (gl_LocalInvocationIndex == 0u) p[p0 + int(gl_WorkGroupID.x)] = s;
}
