{{/* What stands behind redis.url, by the rules of bridge/settings/redis_address.py: one server, Sentinels, a cluster, or a
Unix socket. */}}

{{- define "lens-bridge.redisUrl" -}}
{{- if .Values.redis.trial.enabled -}}
{{- printf "redis://%s:6379/0" (include "lens-bridge.beside" (list . "trial-redis")) -}}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{/* `single`, `sentinel`, `cluster` or `unix`. */}}
{{- define "lens-bridge.redisTopology" -}}
{{- $scheme := include "lens-bridge.redisUrl" . | lower | splitList "://" | first -}}
{{- if eq $scheme "unix" -}}
unix
{{- else -}}
{{- default "single" (regexFind "[+](sentinel|cluster)$" $scheme | trimPrefix "+") -}}
{{- end -}}
{{- end -}}

{{/* Something where TLS is spoken. */}}
{{- define "lens-bridge.redisTls" -}}
{{- regexFind "^(?i:rediss|valkeys)([+][a-zA-Z]+)?://" (include "lens-bridge.redisUrl" .) -}}
{{- end -}}

{{/* One line about redis.url; it repeats no part of it that could be a secret. */}}
{{- define "lens-bridge.redisProblem" -}}
{{- $url := .Values.redis.url -}}
{{- $topology := include "lens-bridge.redisTopology" . -}}
{{- $like := get (dict
  "single" "redis://host:6379/0, or rediss:// for TLS"
  "sentinel" "redis+sentinel://host:26379,host:26379/service/0, or rediss+sentinel:// for TLS"
  "cluster" "redis+cluster://host:6379,host:6379, or rediss+cluster:// for TLS"
  "unix" "unix:///run/redis.sock, with ?db=1 for another database than 0") $topology -}}
{{- $port := `(:(0{0,4}[1-9]|0{0,3}[1-9][0-9]|0{0,2}[1-9][0-9]{2}|0?[1-9][0-9]{3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?` -}}
{{- $host := printf `(\[[0-9A-Fa-f:.]+(%%[A-Za-z0-9_.-]+)?\]|[^\s\[\]:/,@?#]+)%s` $port -}}
{{- $rest := regexReplaceAll "^[^:/?#]*://" $url "" -}}
{{- $hosts := splitList "/" $rest | first -}}
{{- if regexMatch `^[^:/?#]*://[^?#]*@` $url -}}
redis.url: must hold no user or password; set redis.username and redis.password.existingSecret
{{- else if regexMatch `[\s\x00-\x1f\x7f]` $url -}}
redis.url: must hold no spaces and no line breaks
{{- else if not (regexMatch `^(?i:unix|(rediss?|valkeys?)([+](sentinel|cluster))?)://` $url) -}}
redis.url: must begin with redis://, rediss:// (TLS), redis+sentinel://, redis+cluster:// or unix://
{{- else if eq $topology "unix" -}}
{{- if not (regexMatch `^/[^?#]*[^/?#]([?](db=[0-9]{1,5})?)?$` $rest) -}}
redis.url: must look like {{ $like }}
{{- end -}}
{{- else if regexMatch `[?#]` $rest -}}
redis.url: must hold no ? and no #; options are settings below config
{{- else if not $hosts -}}
redis.url: must look like {{ $like }}
{{- else if not (regexMatch (printf `^%s(,%s)*$` $host $host) $hosts) -}}
redis.url: has a bad host or port (1 to 65535)
{{- else if eq $topology "sentinel" -}}
{{- if not (regexMatch `^[^/]+/[^/]` $rest) -}}
redis.url: must name the service that the Sentinels watch, as {{ $like }}
{{- else if not (regexMatch `^[^/]+/[^/]+(/[0-9]{0,5})?$` $rest) -}}
redis.url: must end with a database number, e.g. /0
{{- end -}}
{{- else if eq $topology "cluster" -}}
{{- if not (regexMatch `^[^/]+(/0?)?$` $rest) -}}
redis.url: must end after the hosts; a cluster has database 0 only
{{- end -}}
{{- else if contains "," $hosts -}}
redis.url: names several hosts; for several write redis+sentinel:// or redis+cluster://
{{- else if not (regexMatch `^[^/]+(/[0-9]{0,5})?$` $rest) -}}
redis.url: must end with a database number, e.g. /0
{{- end -}}
{{- end -}}

{{/* The ports that redis.url names, or another where a host has none, as a list in JSON: (list . OTHER). */}}
{{- define "lens-bridge.portsOfHosts" -}}
{{- $root := index . 0 -}}
{{- $other := index . 1 -}}
{{- $ports := list -}}
{{- if ne (include "lens-bridge.redisTopology" $root) "unix" -}}
{{- range regexReplaceAll "^[^:/?#]*://" (include "lens-bridge.redisUrl" $root) "" | splitList "/" | first | splitList "," -}}
{{- $ports = append $ports (include "lens-bridge.portOf" (list . $other) | int) -}}
{{- end -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{/* The ports of the Redis pods, as a list in JSON; none with a Unix socket. Sentinels know where the servers of data are,
and here nobody does: those listen where Redis usually does, or networkPolicy.redisPorts says so. */}}
{{- define "lens-bridge.dataPorts" -}}
{{- $ports := list 6379 -}}
{{- if ne (include "lens-bridge.redisTopology" .) "sentinel" -}}
{{- $ports = include "lens-bridge.portsOfHosts" (list . 6379) | fromJsonArray -}}
{{- end -}}
{{- include "lens-bridge.portList" (list .Values.networkPolicy.redisPorts $ports) -}}
{{- end -}}

{{/* Those of the Sentinels' pods; none where there are no Sentinels. */}}
{{- define "lens-bridge.sentinelPorts" -}}
{{- if eq (include "lens-bridge.redisTopology" .) "sentinel" -}}
{{- $ports := include "lens-bridge.portsOfHosts" (list . 26379) | fromJsonArray -}}
{{- include "lens-bridge.portList" (list .Values.networkPolicy.sentinelPorts $ports) -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* (list GIVEN OTHERWISE): whole numbers, as a list in JSON. Helm holds numbers as floats. */}}
{{- define "lens-bridge.portList" -}}
{{- $ports := list -}}
{{- range default (index . 1) (index . 0) -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{- define "lens-bridge.redisPorts" -}}
{{- concat (include "lens-bridge.sentinelPorts" . | fromJsonArray) (include "lens-bridge.dataPorts" . | fromJsonArray) | uniq | toJson -}}
{{- end -}}

{{/* Server and image of the trial. */}}
{{- define "lens-bridge.trialImage" -}}
{{- $trial := .Values.redis.trial -}}
{{- $usual := get (dict "redis" (list "redis" "8.2-alpine") "valkey" (list "valkey/valkey" "8.0-alpine")) $trial.server -}}
{{- printf "%s:%s" (default (index $usual 0) $trial.image.repository) (default (index $usual 1) $trial.image.tag) -}}
{{- end -}}

{{/* What has no effect with such an address, a line each. */}}
{{- define "lens-bridge.redisNotes" -}}
{{- $redis := .Values.redis -}}
{{- if not $redis.trial.enabled -}}
{{- $scheme := include "lens-bridge.redisUrl" . | splitList "://" | first -}}
{{- if not (include "lens-bridge.redisTls" .) -}}
{{- range $name := list "ca" "clientCertificate" -}}
{{- if (get $redis $name).existingSecret }}
NOTE: redis.{{ $name }} has no effect: the connection is not encrypted. For TLS write rediss in redis.url.
{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (or $redis.sentinel.username $redis.sentinel.password.existingSecret) (ne (include "lens-bridge.redisTopology" .) "sentinel") }}
NOTE: redis.sentinel has no effect: redis.url begins with {{ $scheme }}://, and names no Sentinels.
{{ end -}}
{{- end -}}
{{- end -}}

{{/* The way to name servers and to Redis, as egress rules. */}}
{{- define "lens-bridge.redisEgress" -}}
# Name servers sit in many places: kube-system, the node, outside.
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- with include "lens-bridge.redisPorts" $ | fromJsonArray }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- if $.Values.redis.trial.enabled }}
  to:
    - podSelector:
        matchLabels:
          {{- include "lens-bridge.selector" $ | nindent 10 }}
          app.kubernetes.io/component: trial-redis
  {{- else if $.Values.networkPolicy.redisTo }}
  to:
    {{- toYaml $.Values.networkPolicy.redisTo | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
