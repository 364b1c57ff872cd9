{{- define "lens-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "lens-bridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "lens-bridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "lens-bridge.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A name beside the full one: (list . "suffix"). At most 52 characters, which is what a StatefulSet can bear. A full
name that has to be cut gets a hash of all of it, so that two long releases stay apart. */}}
{{- define "lens-bridge.beside" -}}
{{- $full := include "lens-bridge.fullname" (index . 0) -}}
{{- $suffix := index . 1 -}}
{{- $room := sub 51 (len $suffix) | int -}}
{{- if gt (len $full) $room -}}
{{- $full = printf "%s-%s" ($full | trunc (sub $room 7 | int) | trimSuffix "-") ($full | sha256sum | trunc 6) -}}
{{- end -}}
{{- printf "%s-%s" $full $suffix -}}
{{- end -}}

{{- define "lens-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "lens-bridge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "lens-bridge.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What never changes over the life of a release: selectors are immutable. */}}
{{- define "lens-bridge.selector" -}}
app.kubernetes.io/name: {{ include "lens-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lens-bridge.workerSelector" -}}
{{ include "lens-bridge.selector" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "lens-bridge.serveSelector" -}}
{{ include "lens-bridge.selector" . }}
app.kubernetes.io/component: serve
{{- end -}}

{{- define "lens-bridge.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- range $name, $value := .Values.commonLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "lens-bridge.labels" -}}
{{ include "lens-bridge.selector" . }}
{{ include "lens-bridge.commonLabels" . }}
{{- end -}}

{{/* By which labels the series of this release are found: what the operator makes of a monitor's name. */}}
{{- define "lens-bridge.job" -}}
{{- if .Values.metrics.podMonitor.enabled -}}
job="{{ default .Release.Namespace .Values.metrics.podMonitor.namespace }}/{{ include "lens-bridge.fullname" . }}"
{{- else -}}
namespace="{{ .Release.Namespace }}",job="{{ include "lens-bridge.fullname" . }}"
{{- end -}}
{{- end -}}
