#version 430
// SoftmaxGrad: gx = y·(gy − Σ_j gy·y). One group a row. Model:
// kernels.SoftmaxGrad.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer GX { float gx[]; };
layout(std430, binding = 1) readonly buffer Y { float y[]; };
layout(std430, binding = 2) readonly buffer GY { float gy[]; };
layout(location = 0) uniform int gx0;
layout(location = 1) uniform int y0;
layout(location = 2) uniform int gy0;
layout(location = 3) uniform int n;
layout(location = 4) uniform int d;

void main() {
    int lane = int(gl_LocalInvocationIndex);
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        float s = 0.0;
        for (int j = lane; j < d; j += LANES)
            s += gy[gy0 + i * d + j] * y[y0 + i * d + j];
        s = sumLanes(s);
        for (int j = lane; j < d; j += LANES)
            gx[gx0 + i * d + j] = y[y0 + i * d + j] * (gy[gy0 + i * d + j] - s);
    }
}
