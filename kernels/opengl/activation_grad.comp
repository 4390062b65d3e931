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

float geluGrad(float v) {
    float t = tanhf(0.7978845608 * (v + 0.044715 * v * v * v));
    return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * 0.7978845608 * (1.0 + 3.0 * 0.044715 * v * v);
}

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step)
        gx[gx0 + i] = gy[gy0 + i] * OP(x[x0 + i]);
}
