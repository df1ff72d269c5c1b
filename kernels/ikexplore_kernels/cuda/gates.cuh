// Activations by number, in float32: SILU, SWIGLU_OAI, SIGMOID, RELU, GELU, TANH.

DEVICE float activated(int kind, float x) {
    switch (kind) {
        case 0: return x / (1.0f + expf(-x));
        case 2: return 1.0f / (1.0f + expf(-x));
        case 3: return x > 0.0f ? x : 0.0f;
        case 4: return 0.5f * x * (1.0f + tanhf(0.79788456080286535588f * x * (1.0f + 0.044715f * x * x)));
        default: return tanhf(x);
    }
}

// activation(gate) * up; SWIGLU_OAI (gpt-oss): silu of slope 1.702 of a gate up to 7, times up within 7, plus 1.
DEVICE float gated_value(int kind, float gate, float up) {
    if (kind == 1) {
        gate = fminf(gate, 7.0f);
        up = fmaxf(fminf(up, 7.0f), -7.0f);
        return gate / (1.0f + expf(-1.702f * gate)) * (up + 1.0f);
    }
    return activated(kind, gate) * up;
}
