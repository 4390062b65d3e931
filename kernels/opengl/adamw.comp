#version 430
// AdamW: one decoupled step; the formula is kernels.AdamWStep's. Model:
// kernels.refAdamW.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer P { float p[]; };
layout(std430, binding = 1) buffer M { float m[]; };
layout(std430, binding = 2) buffer V { float v[]; };
layout(std430, binding = 3) readonly buffer G { float g[]; };
layout(location = 0) uniform int p0;
layout(location = 1) uniform int m0;
layout(location = 2) uniform int v0;
layout(location = 3) uniform int g0;
layout(location = 4) uniform int n;
layout(location = 5) uniform float clip;
layout(location = 6) uniform float beta1;
layout(location = 7) uniform float rest1; // 1 − beta1
layout(location = 8) uniform float beta2;
layout(location = 9) uniform float rest2;
layout(location = 10) uniform float keep;
layout(location = 11) uniform float rate;
layout(location = 12) uniform float rsqrtC2;
layout(location = 13) uniform float eps;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        float d = clip * g[g0 + i];
        float a = beta1 * m[m0 + i] + rest1 * d;
        float b = beta2 * v[v0 + i] + rest2 * d * d;
        m[m0 + i] = a;
        v[v0 + i] = b;
        p[p0 + i] = keep * p[p0 + i] - rate * a / (sqrt(b) * rsqrtC2 + eps);
    }
}
