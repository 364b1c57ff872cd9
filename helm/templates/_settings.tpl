{{/* What the worker's own check of its settings refuses, beyond the types and ranges in the schema of the values. */}}

{{/* The worker's defaults by section, as YAML. */}}
{{- define "lens-bridge.defaults" -}}
{{- .Files.Get "worker-defaults.yaml" -}}
{{- end -}}

{{/* A setting, or the worker's default: (list . "section" "name"). */}}
{{- define "lens-bridge.setting" -}}
{{- $defaults := include "lens-bridge.defaults" (index . 0) | fromYaml -}}
{{- dig (index . 1) (index . 2) (dig (index . 1) (index . 2) "" $defaults) (index . 0).Values.config -}}
{{- end -}}

{{- define "lens-bridge.checkAddresses" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- $addresses := list (dict
  "at" "config.source.base_url"
  "url" (include "lens-bridge.setting" (list (index . 0) "source" "base_url"))
  "schemes" "(?i:https?)"
  "like" "must begin with http:// or https:// and name a host"
  "user" "the key goes into a Secret"
  "path" "(/.*)?"
  "end" "") -}}
{{- if not $values.redis.trial.enabled -}}
{{- with include "lens-bridge.redisProblem" (index . 0) -}}
{{- $_ := set $found "problems" (append $found.problems .) -}}
{{- end -}}
{{- end -}}
{{- $source := default dict $values.config.source -}}
{{- if kindIs "string" (hasKey $source "proxy" | ternary $source.proxy false) -}}
{{- $addresses = append $addresses (dict
  "at" "config.source.proxy"
  "url" $source.proxy
  "schemes" "(?i:https?)"
  "like" "must look like http://proxy.example:3128, or https:// where the proxy itself speaks TLS"
  "user" "set BRIDGE_SOURCE__PROXY in extraEnv, with valueFrom and a secretKeyRef"
  "path" "/?"
  "end" "must end after host and port") -}}
{{- end -}}
{{- range $addresses -}}
{{- with include "lens-bridge.addressProblem" . -}}
{{- $_ := set $found "problems" (append $found.problems .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One line about an address; it repeats no part of it that could be a secret. */}}
{{- define "lens-bridge.addressProblem" -}}
{{- $host := `(\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[^\s:/?#@\[\]]+)` -}}
{{- $port := `(:(0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?)?` -}}
{{- if regexMatch `^[^:/?#]*://[^/?#]*@` .url -}}
{{ .at }}: must hold no user or password; {{ .user }}
{{- else if regexMatch `[\s\x00-\x1f\x7f]` .url -}}
{{ .at }}: must hold no spaces and no line breaks
{{- else if not (regexMatch (printf `^%s://[^/?#:]` .schemes) .url) -}}
{{ .at }}: {{ .like }}
{{- else if regexMatch `[?#]` .url -}}
{{ .at }}: must hold no ? and no #; options are settings below config
{{- else if not (regexMatch (printf `^%s://%s%s(/|$)` .schemes $host $port) .url) -}}
{{ .at }}: has a bad host or port (1 to 65535)
{{- else if not (regexMatch (printf `^%s://[^/]+%s$` .schemes .path) .url) -}}
{{ .at }}: {{ .end }}
{{- end -}}
{{- end -}}

{{/* Two settings that are wrong only together, also where one of them is the worker's default. */}}
{{- define "lens-bridge.checkPairs" -}}
{{- $root := index . 0 -}}
{{- $found := index . 1 -}}
{{- range list
  (list "source" "backoff_initial_seconds" "backoff_max_seconds" "the first must not be larger")
  (list "redis" "backoff_initial_seconds" "backoff_max_seconds" "the first must not be larger")
  (list "commit" "max_events" "buffer_events" "a batch must fit into the buffer")
  (list "commit" "max_bytes" "buffer_bytes" "a batch must fit into the buffer") -}}
{{- $section := index . 0 -}}
{{- $values := list -}}
{{- range list (index . 1) (index . 2) -}}
{{- $values = append $values (include "lens-bridge.setting" (list $root $section .) | float64) -}}
{{- end -}}
{{- if gt (index $values 0) (index $values 1) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.%s.%s (%v) and config.%s.%s (%v): %s" $section (index . 1) (index $values 0) $section (index . 2) (index $values 1) (index . 3))) -}}
{{- end -}}
{{- end -}}
{{- if ne (include "lens-bridge.setting" (list $root "redis" "durability")) "memory" -}}
{{- $wait := include "lens-bridge.setting" (list $root "redis" "durability_timeout_seconds") | float64 -}}
{{- $answer := include "lens-bridge.setting" (list $root "redis" "timeout_seconds") | float64 -}}
{{- if ge $wait $answer -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.redis.durability_timeout_seconds (%v) and config.redis.timeout_seconds (%v): the first must be less" $wait $answer)) -}}
{{- end -}}
{{- end -}}
{{- $ttl := include "lens-bridge.setting" (list $root "lease" "ttl_seconds") | float64 -}}
{{- $poll := include "lens-bridge.setting" (list $root "lease" "poll_seconds") | float64 -}}
{{- if le $ttl (mulf 3 $poll) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.lease.ttl_seconds (%v) and config.lease.poll_seconds (%v): the first must be over three times the second" $ttl $poll)) -}}
{{- end -}}
{{- $cap := include "lens-bridge.setting" (list $root "stream" "hard_max_length") | float64 -}}{{/* 0 where it is null. */}}
{{- $limit := include "lens-bridge.setting" (list $root "stream" "max_length") | float64 -}}
{{- if $cap -}}
{{- if ne (include "lens-bridge.setting" (list $root "stream" "keep_unread")) "true" -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.stream.hard_max_length (%v) and config.stream.keep_unread (false): a cap is for what is kept unread; turn the second on, or set config.stream.max_length instead" $cap)) -}}
{{- else if lt $cap $limit -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.stream.hard_max_length (%v) and config.stream.max_length (%v): the first must not be smaller" $cap $limit)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
