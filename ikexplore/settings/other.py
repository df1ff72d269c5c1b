"""Flags that the engine's programs know and that say nothing about how a model runs: samplers, server, files.

They are kept and written back, but have no field. Spellings of one flag are joined by "="; the table follows
common/common.cpp of ik_llama.cpp (June 2025 and August 2026).
"""

from .declare import NEW, PROFILES

_PLAIN = """
--perplexity=--all-logits --check-tensors -co=--color -cb=--cont-batching -cnv=--conversation
-dkvc=--dump-kv-cache --embedding=--embeddings -e=--escape --hellaswag --ignore-eos --in-prefix-bos --infill
-i=--interactive -if=--interactive-first --kl-divergence --log-append --log-disable --log-enable --log-new
--log-test --lora-init-without-apply --metrics -mli=--multiline-input --multiple-choice -nocb=--no-cont-batching
--no-display-prompt --no-escape --no-ppl --no-slots --penalize-nl -pps --process-output --prompt-cache-all
--prompt-cache-ro --send-done --simple-io -sp=--special --spm-infill -h=--usage=--help -v=--verbose
--verbose-prompt --version --winogrande
"""
_VALUE = """
-a=--alias --api-key --api-key-file --attention --audio=--image -bf=--binary-file --cfg-negative-prompt
--cfg-negative-prompt-file --cfg-scale --chat-template --chunk-separator --chunk-size --chunks --context-file
--control-vector -dt=--defrag-thold --draft-n=--draft-max=--draft --dynatemp-exp --dynatemp-range
--embd-normalize --embd-output-format --embd-separator -f=--file --frequency-penalty --chunk=--from-chunk
--grammar --grammar-file -gan=--grp-attn-n -gaw=--grp-attn-w --hellaswag-tasks -hff=--hf-file -hfr=--hf-repo
-hft=--hf-token --host --in-file --in-prefix --in-suffix -j=--json-schema --junk --keep
--save-all-logits=--kl-divergence-base --log-file --log-format -ld=--logdir -l=--logit-bias
-lcd=--lookup-cache-dynamic -lcs=--lookup-cache-static --lora --method --min-p --mirostat --mirostat-ent
--mirostat-lr --mmproj -md=--model-draft -mu=--model-url --multiple-choice-tasks
-ngld=--n-gpu-layers-draft=--gpu-layers-draft --negative-file -npl -npp -ntg -o=--output=--output-file
--output-format -ofreq=--output-frequency --output-tensor-name -ps=--p-split --path --pca-batch --pca-iter
--pooling --port --pos --positive-file --ppl-output-type --ppl-stride --presence-penalty
-ptc=--print-token-count -p=--prompt --prompt-cache --repeat-last-n --repeat-penalty -r=--reverse-prompt --rpc
--samplers --sampling-seq --save-frequency -ns=--sequences -sps=--slot-prompt-similarity --slot-save-path
--ssl-cert-file --ssl-key-file -spf=--system-prompt-file --temp --tfs -tbd=--threads-batch-draft
-td=--threads-draft --threads-http -to=--timeout --top-k --top-n-sigma --top-p --typical --verbosity
--winogrande-tasks --xtc-probability --xtc-threshold
"""
_PAIR = """
--control-vector-layer-range --control-vector-scaled --lora-scaled
"""
_PLAIN_NEW = """
--adaptive-updt-w-cur --defer-experts -dr=--dry-run -dsa=--dsa -fidx=--fused-indexer-topk --jinja --minilog
-mtp=--multi-token-prediction --no-context-shift --no-mmproj-offload -no-mtp=--no-multi-token-prediction
--no-prefill-assistant -ptcall=--parallel-tool-calls --peg --prefetch-experts -rcache=--rope-cache
--skip-chat-parsing --spec-autotune --swa-compress --sweep-memory -vq=--validate-quants
--ui-mcp-proxy=--webui-mcp-proxy
"""
_VALUE_NEW = """
--adaptive-decay --adaptive-target --allowlist-keyword --allowlist-keyword-delay --allowlist-pieces
--allowlist-unicode-rule --banned-n --banned-string-file -cram=--cache-ram -cram-n-min=--cache-ram-n-min
-crs=--cache-ram-similarity -ctkd=--cache-type-k-draft -ctk-first=--cache-type-k-first
-ctk-last=--cache-type-k-last -ctvd=--cache-type-v-draft -ctv-first=--cache-type-v-first
-ctv-last=--cache-type-v-last --chat-template-file --chat-template-kwargs --context-shift
-ctx-ckpt=--ctx-checkpoints -ctx-ckpt-e=--ctx-checkpoints-eviction -ctx-ckpt-i=--ctx-checkpoints-interval
-ctx-ckpt-t=--ctx-checkpoints-tolerance -cd=--ctx-size-draft -devd=--device-draft --draft-min=--draft-n-min
--draft-output=--output-draft=--draft-output-file --draft-p-min -draft=--draft-params --dry-allowed-length
--dry-base --dry-multiplier --dry-penalty-last-n --dry-sequence-breaker -dsatk=--dsa-top-k
--expiring-logit-bias-file -fdn=--fused-delta-net --image-max-tokens --image-min-tokens
-ictk=--indexer-cache-type-k --mmproj-url --mtmd-kq-type -mtprot=--mtp-requantize-output-tensor
--prefetch-experts-threads -rea=--reasoning --reasoning-budget --reasoning-budget-message --reasoning-format
--reasoning-tokens --recurrent-ckpt-mode=--spec-ckpt-mode --spec-ngram-min-hits --spec-ngram-size-m
--spec-ngram-size-n --spec-stage --spec-type --sql-save-file --sqlite-zstd-ext-file --suffix-corpus
--suffix-max-depth --suffix-pattern-len --sweep-stride -tm=--threads-mtmd --webui
"""
_PAIR_NEW = """
--spec-replace
"""


def _table() -> dict[str, tuple[str, int, tuple[str, ...]]]:
    found: dict[str, tuple[str, int, tuple[str, ...]]] = {}
    for text, count, profiles in (
        (_PLAIN, 0, PROFILES),
        (_VALUE, 1, PROFILES),
        (_PAIR, 2, PROFILES),
        (_PLAIN_NEW, 0, (NEW,)),
        (_VALUE_NEW, 1, (NEW,)),
        (_PAIR_NEW, 2, (NEW,)),
    ):
        for names in text.split():
            spellings = names.split("=")
            for name in spellings:
                found[name] = (spellings[-1], count, profiles)
    return found


#: spelling -> (canonical spelling, number of values, profiles that know it)
OTHER = _table()
