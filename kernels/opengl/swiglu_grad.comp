#version 430
// SwiGLUGrad: gg = gy·u·silu′(g), gu = gy·silu(g). Model: kernels.refSwiGLUGrad.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer GG { float gg[]; };
layout(std430, binding = 1) buffer GU { float gu[]; };
layout(std430, binding = 2) readonly buffer G { float g[]; };
layout(std430, binding = 3) readonly buffer U { float u[]; };
layout(std430, binding = 4) readonly buffer GY { float gy[]; };
layout(location = 0) uniform int gg0;
layout(location = 1) uniform int gu0;
layout(location = 2) uniform int g0;
layout(location = 3) uniform int u0;
layout(location = 4) uniform int gy0;
layout(location = 5) uniform int n;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        float v = g[g0 + i], up = u[u0 + i], d = gy[gy0 + i];
        float s = sigmoid(v), r = sigmoid(-v);
        gg[gg0 + i] = d * up * (s * (1.0 + v * r));
        gu[gu0 + i] = d * v * s;
    }
}
