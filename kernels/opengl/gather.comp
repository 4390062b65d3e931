#version 430
// GatherRows: y[i,:] = w[id[i],:], as bits; NaN where id is no row of w. Model:
// kernels.GatherRows.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer Y { int y[]; };
layout(std430, binding = 1) readonly buffer W { int w[]; };
layout(std430, binding = 2) readonly buffer ID { int id[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int w0;
layout(location = 2) uniform int id0;
layout(location = 3) uniform int n;
layout(location = 4) uniform int rows;
layout(location = 5) uniform int d;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < n * d; e += step) {
        int i = e / d, r = id[id0 + i];
        y[y0 + e] = r >= 0 && r < rows ? w[w0 + r * d + (e - i * d)] : 0x7fc00000;
    }
}
