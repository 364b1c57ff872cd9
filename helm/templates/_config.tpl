{{/* What the worker reads as its configuration file: `config` as it is, and what the chart itself knows. No secret is in
it: those are files, named here. */}}
{{- define "lens-bridge.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $source := default dict $config.source -}}
{{- $redis := default dict $config.redis -}}
{{- $secrets := "/etc/lens-bridge/secrets" -}}
{{- if .Values.apiKey.existingSecret -}}
{{- $_ := set $source "api_key_file" (printf "%s/api-key" $secrets) -}}
{{- end -}}
{{- if .Values.source.ca.existingSecret -}}
{{- $_ := set $source "ca_file" (printf "%s/source-ca.crt" $secrets) -}}
{{- end -}}
{{- $_ := set $redis "url" (include "lens-bridge.redisUrl" .) -}}
{{- if .Values.redis.trial.enabled -}}
{{- $redis = omit $redis "password_file" "sentinel_password_file" "ca_file" "cert_file" "key_file" -}}
{{- else -}}
{{- with .Values.redis.username -}}
{{- $_ := set $redis "username" . -}}
{{- end -}}
{{- with .Values.redis.sentinel.username -}}
{{- $_ := set $redis "sentinel_username" . -}}
{{- end -}}
{{- range include "lens-bridge.redisSecrets" . | fromJsonArray -}}
{{- $_ := set $redis .setting (printf "%s/%s" $secrets .file) -}}
{{- end -}}
{{- end -}}
{{- $given := dict "source" $source "redis" $redis "sessions" (default list .Values.sessions) -}}
{{- toYaml (merge $given (omit $config "source" "redis")) -}}
{{- end -}}

{{/* Stands for what a worker reads at its start alone: where that changes, new pods are made. Left out is what is not its own,
and what a worker that runs takes up by itself, `LIVE` in bridge/worker/reload/changes.py: the kubelet brings it the new file. */}}
{{- define "lens-bridge.checksum" -}}
{{- $config := deepCopy . -}}
{{- range $section, $live := dict
  "discovery" (list "enabled" "interval_seconds" "lens_ids" "name" "statuses")
  "events" (list "exclude" "include" "strict_json")
  "log" (list "level")
  "metrics" (list "detail")
  "redis" (list "ca_file" "cert_file" "key_file" "password" "password_file" "sentinel_password" "sentinel_password_file" "sentinel_username" "username")
  "retention" (list "ended_seconds")
  "source" (list "api_key" "api_key_file") -}}
{{- range $live -}}
{{- $_ := unset (default dict (get $config $section)) . -}}
{{- end -}}
{{- if not (get $config $section) -}}
{{- $_ := unset $config $section -}}
{{- end -}}
{{- end -}}
{{- omit $config "sessions" "serve" | toYaml | sha256sum -}}
{{- end -}}

{{/* The files of Secrets that the way to Redis takes, as a list in JSON: the worker's setting, the file, the Secret, its key. */}}
{{- define "lens-bridge.redisSecrets" -}}
{{- $redis := .Values.redis -}}
{{- $files := list -}}
{{- if not $redis.trial.enabled -}}
{{- range list
  (list "password_file" "redis-password" $redis.password "key")
  (list "sentinel_password_file" "sentinel-password" $redis.sentinel.password "key")
  (list "ca_file" "redis-ca.crt" $redis.ca "key")
  (list "cert_file" "redis-client.crt" $redis.clientCertificate "certificate")
  (list "key_file" "redis-client.key" $redis.clientCertificate "privateKey") -}}
{{- $secret := index . 2 -}}
{{- if $secret.existingSecret -}}
{{- $files = append $files (dict "setting" (index . 0) "file" (index . 1) "secret" $secret.existingSecret "key" (get $secret (index . 3))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{- define "lens-bridge.adminPort" -}}
{{- include "lens-bridge.setting" (list . "admin" "port") | float64 | int -}}
{{- end -}}

{{/* Longer than the worker itself takes to stop: it must never be killed while it commits what it has read. The margin is at
least 5 seconds, by the schema of the values. Kubernetes' clock runs from before `preStop`. */}}
{{- define "lens-bridge.terminationSeconds" -}}
{{- $grace := include "lens-bridge.setting" (list . "worker" "grace_period_seconds") | float64 -}}
{{- add (ceil $grace | int) .Values.terminationMarginSeconds (dig "preStop" "sleep" "seconds" 0 (default dict .Values.lifecycle) | int) -}}
{{- end -}}

{{/* How a pod finds names. */}}
{{- define "lens-bridge.podNames" -}}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The port that a URL names, or another: (list URL PORT). The colons of an IPv6 address name none. */}}
{{- define "lens-bridge.portOf" -}}
{{- $host := regexReplaceAll "^([^:/?#]+://)?([^/?#]*@)?([^/?#]*).*$" (index . 0) "${3}" -}}
{{- default (index . 1) (regexFind ":[0-9]+$" $host | regexFind "[1-9][0-9]*$") -}}
{{- end -}}

{{- define "lens-bridge.sourcePorts" -}}
{{- $url := include "lens-bridge.setting" (list . "source" "base_url") -}}
{{- $port := include "lens-bridge.portOf" (list $url (ternary 80 443 (hasPrefix "http://" (lower $url)))) | int -}}
{{- default (list $port) .Values.networkPolicy.sourcePorts | toJson -}}
{{- end -}}

{{/* Ports of the proxies that the worker is told of, as a list in JSON. A value that comes from elsewhere can't be seen. */}}
{{- define "lens-bridge.proxyPorts" -}}
{{- $proxies := list (dig "source" "proxy" "" .Values.config) -}}
{{- range .Values.extraEnv -}}
{{- if has (upper .name) (list "HTTPS_PROXY" "HTTP_PROXY" "ALL_PROXY") -}}
{{- $proxies = append $proxies .value -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range compact $proxies -}}
{{- $ports = append $ports (include "lens-bridge.portOf" (list . (ternary 443 80 (hasPrefix "https://" (lower .)))) | int) -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{/* One directory of files for all secrets. Mounted whole, never with subPath: only so a rotated Secret arrives. */}}
{{- define "lens-bridge.secretSources" -}}
{{- if .Values.apiKey.existingSecret }}
- secret:
    name: {{ .Values.apiKey.existingSecret | quote }}
    items:
      - {key: {{ .Values.apiKey.key | quote }}, path: api-key}
{{- end }}
{{ include "lens-bridge.sharedSources" . }}
{{- end -}}

{{/* Those that `serve` reads too: the configuration names them all. */}}
{{- define "lens-bridge.sharedSources" -}}
{{- if .Values.source.ca.existingSecret }}
- secret:
    name: {{ .Values.source.ca.existingSecret | quote }}
    items:
      - {key: {{ .Values.source.ca.key | quote }}, path: source-ca.crt}
{{- end }}
{{- range include "lens-bridge.redisSecrets" . | fromJsonArray }}
- secret:
    name: {{ .secret | quote }}
    items:
      - {key: {{ .key | quote }}, path: {{ .file }}}
{{- end }}
{{- end -}}

{{/* The files of `serve`: the token, and what leads to Redis. Not the API key. */}}
{{- define "lens-bridge.serveSources" -}}
{{- if .Values.serve.token.existingSecret }}
- secret:
    name: {{ .Values.serve.token.existingSecret | quote }}
    items:
      - {key: {{ .Values.serve.token.key | quote }}, path: serve-token}
{{- end }}
{{ include "lens-bridge.sharedSources" . }}
{{- end -}}

{{/* The files that a worker reads: (list . SECRET-SOURCES). */}}
{{- define "lens-bridge.workerVolumes" -}}
{{- $root := index . 0 -}}
- name: config
  configMap:
    name: {{ include "lens-bridge.fullname" $root }}
{{- with index . 1 }}
- name: secrets
  projected:
    defaultMode: {{ ternary 0440 0444 (hasKey $root.Values.podSecurityContext "fsGroup") }}
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lens-bridge.workerMounts" -}}
- {name: config, mountPath: /etc/lens-bridge/config, readOnly: true}
{{- if index . 1 }}
- {name: secrets, mountPath: /etc/lens-bridge/secrets, readOnly: true}
{{- end }}
{{- with (index . 0).Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
