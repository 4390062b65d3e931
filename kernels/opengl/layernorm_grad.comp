#version 430
// LayerNormGrad, by rows: with x̂ = (x−mean)·r and h = gy·w,
// gx = r·(h − mean h − x̂·mean(h·x̂)). gw and gb are norm_grad_w.comp's. Model:
// kernels.refLayerNormGradRow.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer GX { float gx[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(std430, binding = 2) readonly buffer W { float w[]; };
layout(std430, binding = 3) readonly buffer GY { float gy[]; };
layout(std430, binding = 4) readonly buffer M { float mean[]; };
layout(std430, binding = 5) readonly buffer R { float r[]; };
layout(location = 0) uniform int gx0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int w0;
layout(location = 3) uniform int gy0;
layout(location = 4) uniform int mean0;
layout(location = 5) uniform int r0;
layout(location = 6) uniform int n;
layout(location = 7) uniform int d;

void main() {
    int lane = int(gl_LocalInvocationIndex);
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        float m = mean[mean0 + i], q = r[r0 + i], s = 0.0, t = 0.0;
        for (int j = lane; j < d; j += LANES) {
            float h = gy[gy0 + i * d + j] * w[w0 + j];
            s += h;
            t += h * ((x[x0 + i * d + j] - m) * q);
        }
        s = sumLanes(s) / float(d);
        t = sumLanes(t) / float(d);
        for (int j = lane; j < d; j += LANES) {
            float h = gy[gy0 + i * d + j] * w[w0 + j];
            gx[gx0 + i * d + j] = q * (h - s - (x[x0 + i * d + j] - m) * q * t);
        }
    }
}
