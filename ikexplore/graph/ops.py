"""The operations of ggml that graphs of language models are made of, by name and by number.

Numbers are this package's own (the reference's numbers moved between versions; an offload policy names ops by name).
"""

OPS = (
    "NONE", "ADD", "ADD_ID", "ARGSORT", "ARGSORT_THRESH", "CONCAT", "CONT", "CPY", "DIV", "FLASH_ATTN_EXT",
    "FUSED_MUL_UNARY", "FUSED_RMS_NORM", "FUSED_UP_GATE", "GET_ROWS", "HADAMARD", "MOE_FUSED_UP_GATE", "MUL",
    "MULTI_ADD", "MUL_MAT", "MUL_MAT_ID", "MUL_MULTI_ADD", "NORM", "PERMUTE", "REDUCE", "REPEAT", "RESHAPE", "RMS_NORM",
    "ROPE", "SCALE", "SOFTCAP", "SOFT_CAP_MAX", "SOFT_MAX", "SUB", "SUM_ROWS", "TRANSPOSE", "UNARY", "VIEW",
)  # fmt: skip
OP = {name: number for number, name in enumerate(OPS)}

#: ops that only look at the memory of their source; they compute nothing and belong to no split of their own
VIEW_OPS = ("RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE")

#: ops whose result may take over the memory of a source (ggml-alloc: ggml_op_can_inplace; ADD_ID since August 2026)
INPLACE_OPS = ("SCALE", "ADD", "ADD_ID", "SUB", "MUL", "DIV", "UNARY", "ROPE", "RMS_NORM", "SOFT_MAX")

#: tensor flags (ggml.h: GGML_TENSOR_FLAG_INPUT, GGML_TENSOR_FLAG_OUTPUT)
INPUT = 1
OUTPUT = 2
