#version 430
// Fill: y[i] = value, as bits.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer Y { int y[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int n;
layout(location = 2) uniform int value;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step)
        y[y0 + i] = value;
}
