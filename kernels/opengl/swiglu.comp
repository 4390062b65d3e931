#version 430
// SwiGLU: y[i] = silu(g[i])·u[i]. Model: kernels.refSwiGLU.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(std430, binding = 1) readonly buffer G { float g[]; };
layout(std430, binding = 2) readonly buffer U { float u[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int g0;
layout(location = 2) uniform int u0;
layout(location = 3) uniform int n;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        float v = g[g0 + i];
        y[y0 + i] = v * sigmoid(v) * u[u0 + i];
    }
}
