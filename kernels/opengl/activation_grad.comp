#version 430
// SiLUGrad, GELUGrad: gx[i] = gy[i]·OP(x[i]), OP the derivative. Models:
// kernels.refSiLUGrad, refGELUGrad.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer GX { float gx[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(std430, binding = 2) readonly buffer GY { float gy[]; };
layout(location = 0) uniform int gx0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int gy0;
layout(location = 3) uniform int n;

float siluGrad(float v) {
    float s = sigmoid(v), r = sigmoid(-v); // r = 1 − s without cancellation
    return s * (1.0 + v * r);
}

// With s = ½·(1 + tanh z) = σ(2z): 1 − tanh² z = 4·s·(1−s).
float geluGrad(float v) {
    float z2 = 1.5957691216 * (v + 0.044715 * v * v * v);
    float s = sigmoid(z2), r = sigmoid(-z2);
    return s + v * s * r * 1.5957691216 * (1.0 + 3.0 * 0.044715 * v * v);
}

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step)
        gx[gx0 + i] = gy[gy0 + i] * OP(x[x0 + i]);
}
