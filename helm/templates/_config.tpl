{{/* What the worker reads as its configuration file: `config` as it is, and what the chart itself knows. No secret is in
it: those are files, named here. */}}
{{- define "lens-bridge.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $source := default dict $config.source -}}
{{- $redis := default dict $config.redis -}}
{{- $secrets := "/etc/lens-bridge/secrets" -}}
{{- $_ := set $source "api_key_file" (printf "%s/api-key" $secrets) -}}
{{- if .Values.source.ca.existingSecret -}}
{{- $_ := set $source "ca_file" (printf "%s/source-ca.crt" $secrets) -}}
{{- end -}}
{{- $_ := set $redis "url" (include "lens-bridge.redisUrl" .) -}}
{{- if not .Values.redis.trial.enabled -}}
{{- with .Values.redis.username -}}
{{- $_ := set $redis "username" . -}}
{{- end -}}
{{- if .Values.redis.password.existingSecret -}}
{{- $_ := set $redis "password_file" (printf "%s/redis-password" $secrets) -}}
{{- end -}}
{{- if .Values.redis.ca.existingSecret -}}
{{- $_ := set $redis "ca_file" (printf "%s/redis-ca.crt" $secrets) -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (dict "source" $source "redis" $redis "sessions" .Values.sessions) $config) -}}
{{- end -}}

{{- define "lens-bridge.redisUrl" -}}
{{- if .Values.redis.trial.enabled -}}
{{- printf "redis://%s:6379/0" (include "lens-bridge.beside" (list . "trial-redis")) -}}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{- define "lens-bridge.adminPort" -}}
{{- dig "admin" "port" 8080 .Values.config | int -}}
{{- end -}}

{{/* Longer than the worker itself takes to commit what it has read: it must never be killed while it does. */}}
{{- define "lens-bridge.terminationSeconds" -}}
{{- $grace := dig "worker" "grace_period_seconds" 20 .Values.config -}}
{{- add (ceil $grace | int) .Values.terminationMarginSeconds -}}
{{- end -}}

{{/* Ports named in redis.url, as a list in JSON; Redis's own where none is named. */}}
{{- define "lens-bridge.redisPorts" -}}
{{- $hosts := regexReplaceAll "^[^:]+://([^/]*).*$" (include "lens-bridge.redisUrl" .) "${1}" -}}
{{- $ports := list -}}
{{- range default (regexFindAll ":[0-9]+" $hosts -1) .Values.networkPolicy.redisPorts -}}
{{- $ports = append $ports (toString . | trimPrefix ":" | int) -}}
{{- end -}}
{{- default (list 6379) $ports | uniq | toJson -}}
{{- end -}}

{{- define "lens-bridge.sourcePorts" -}}
{{- $url := dig "source" "base_url" "https://api" .Values.config -}}
{{- $named := regexFind ":[0-9]+$" (urlParse $url).host | trimPrefix ":" -}}
{{- $port := default (ternary 80 443 (hasPrefix "http://" $url)) $named | int -}}
{{- default (list $port) .Values.networkPolicy.sourcePorts | toJson -}}
{{- end -}}

{{/* One directory of files for all secrets. Mounted whole, never with subPath: only so a rotated Secret arrives. */}}
{{- define "lens-bridge.secretSources" -}}
- secret:
    name: {{ required "set apiKey.existingSecret to the name of a Secret that holds your API key under `api-key`" .Values.apiKey.existingSecret | quote }}
    items:
      - {key: {{ .Values.apiKey.key | quote }}, path: api-key}
{{- if .Values.source.ca.existingSecret }}
- secret:
    name: {{ .Values.source.ca.existingSecret | quote }}
    items:
      - {key: {{ .Values.source.ca.key | quote }}, path: source-ca.crt}
{{- end }}
{{- if not .Values.redis.trial.enabled }}
{{- if .Values.redis.password.existingSecret }}
- secret:
    name: {{ .Values.redis.password.existingSecret | quote }}
    items:
      - {key: {{ .Values.redis.password.key | quote }}, path: redis-password}
{{- end }}
{{- if .Values.redis.ca.existingSecret }}
- secret:
    name: {{ .Values.redis.ca.existingSecret | quote }}
    items:
      - {key: {{ .Values.redis.ca.key | quote }}, path: redis-ca.crt}
{{- end }}
{{- end }}
{{- end -}}
