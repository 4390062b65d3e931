#version 430
// CrossEntropyGrad: gx[i,j] = gy[i]·(e^(x[i,j]−lse[i]) − [j = target[i]]), 0 in
// rows whose target is negative. Model: kernels.CrossEntropyGrad.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer GX { float gx[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(std430, binding = 2) readonly buffer S { float lse[]; };
layout(std430, binding = 3) readonly buffer T { int target[]; };
layout(std430, binding = 4) readonly buffer GY { float gy[]; };
layout(location = 0) uniform int gx0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int lse0;
layout(location = 3) uniform int target0;
layout(location = 4) uniform int gy0;
layout(location = 5) uniform int n;
layout(location = 6) uniform int d;

void main() {
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        int t = target[target0 + i];
        float s = lse[lse0 + i], g = gy[gy0 + i];
        for (int j = int(gl_LocalInvocationIndex); j < d; j += LANES)
            gx[gx0 + i * d + j] = t < 0 ? 0.0 : g * (expf(x[x0 + i * d + j] - s) - (j == t ? 1.0 : 0.0));
    }
}
