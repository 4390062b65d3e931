#version 430
// ScatterAddRows: gw[r,j] = Σ of gy[i,j] over i with id[i] = r, in order of i.
// One invocation an element of gw. Model: kernels.ScatterAddRows.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer GW { float gw[]; };
layout(std430, binding = 1) readonly buffer GY { float gy[]; };
layout(std430, binding = 2) readonly buffer ID { int id[]; };
layout(location = 0) uniform int gw0;
layout(location = 1) uniform int gy0;
layout(location = 2) uniform int id0;
layout(location = 3) uniform int n;
layout(location = 4) uniform int rows;
layout(location = 5) uniform int d;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < rows * d; e += step) {
        int r = e / d, j = e - r * d;
        float s = 0.0;
        for (int i = 0; i < n; i++)
            if (id[id0 + i] == r) s += gy[gy0 + i * d + j];
        gw[gw0 + e] = s;
    }
}
