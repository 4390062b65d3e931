#version 430
// RMSNormGrad, by rows: with x̂ = r·x and c = mean_j gy·w·x̂,
// gx = r·(gy·w − x̂·c). gw is norm_grad_w.comp's. Model: kernels.refRMSNormGradRow.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer GX { float gx[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(std430, binding = 2) readonly buffer W { float w[]; };
layout(std430, binding = 3) readonly buffer GY { float gy[]; };
layout(std430, binding = 4) readonly buffer R { float r[]; };
layout(location = 0) uniform int gx0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int w0;
layout(location = 3) uniform int gy0;
layout(location = 4) uniform int r0;
layout(location = 5) uniform int n;
layout(location = 6) uniform int d;

void main() {
    int lane = int(gl_LocalInvocationIndex);
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        float q = r[r0 + i], s = 0.0;
        for (int j = lane; j < d; j += LANES)
            s += gy[gy0 + i * d + j] * w[w0 + j] * (q * x[x0 + i * d + j]);
        float c = sumLanes(s) / float(d);
        for (int j = lane; j < d; j += LANES)
            gx[gx0 + i * d + j] = q * (gy[gy0 + i * d + j] * w[w0 + j] - q * x[x0 + i * d + j] * c);
    }
}
