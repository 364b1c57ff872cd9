{{/* What Kubernetes and its operators would refuse only when the objects are made, or never say at all. */}}

{{/* Names that the pod has already. Kubernetes would say so only when the objects are made. */}}
{{- define "lens-bridge.checkPod" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- range $values.extraVolumes -}}
{{- if has .name (list "config" "secrets") -}}
{{- $_ := set $found "problems" (append $found.problems (printf "extraVolumes: %s is a volume of the chart's own; use another name" .name)) -}}
{{- end -}}
{{- end -}}
{{- range $values.extraVolumeMounts -}}
{{- if regexMatch "^/etc/lens-bridge(/(config|secrets)(/.*)?)?/?$" .mountPath -}}
{{- $_ := set $found "problems" (append $found.problems (printf "extraVolumeMounts: %s is where the chart's own files are; use another mountPath" .mountPath)) -}}
{{- end -}}
{{- end -}}
{{- range concat (default list $values.initContainers) (default list $values.extraContainers) -}}
{{- if eq .name "worker" -}}
{{- $_ := set $found "problems" (append $found.problems "initContainers and extraContainers: worker is the chart's own container; use another name") -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.dnsPolicy "None") (not (dig "nameservers" list (default dict $values.dnsConfig))) -}}
{{- $_ := set $found "problems" (append $found.problems "dnsPolicy: None needs dnsConfig.nameservers") -}}
{{- end -}}
{{- end -}}

{{/* How many workers there are, and how they are replaced. */}}
{{- define "lens-bridge.checkScale" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- if and $values.autoscaling.enabled $values.keda.enabled -}}
{{- $_ := set $found "problems" (append $found.problems "set only one of autoscaling.enabled and keda.enabled: KEDA makes a HorizontalPodAutoscaler of its own") -}}
{{- end -}}
{{- range $name := list "autoscaling" "keda" -}}
{{- $scaler := get $values $name -}}
{{- if $scaler.enabled -}}
{{- if gt (int $scaler.minReplicas) (int $scaler.maxReplicas) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s.minReplicas (%v) and %s.maxReplicas (%v): the first must not be larger" $name $scaler.minReplicas $name $scaler.maxReplicas)) -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" $values.resources) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s.enabled: needs resources.requests.cpu, of which it measures the use" $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $values.keda.enabled -}}
{{- if not (or $values.metrics.podMonitor.enabled $values.metrics.serviceMonitor.enabled) -}}
{{- $_ := set $found "problems" (append $found.problems "keda.enabled: needs metrics.podMonitor.enabled or metrics.serviceMonitor.enabled; its query looks for what one of them scrapes") -}}
{{- end -}}
{{- if not $values.keda.prometheusAddress -}}
{{- $_ := set $found "problems" (append $found.problems "keda.enabled: needs keda.prometheusAddress, e.g. http://prometheus.monitoring:9090") -}}
{{- end -}}
{{- range $name := list "podMonitor" "serviceMonitor" -}}
{{- $monitor := get $values.metrics $name -}}
{{- if and $monitor.enabled $monitor.jobLabel -}}
{{- $_ := set $found "problems" (append $found.problems (printf "metrics.%s.jobLabel: does not go with keda.enabled, whose query looks for the job that the monitor gives by itself" $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $rolling := default dict $values.strategy.rollingUpdate -}}
{{- $none := list "0" "0%" -}}
{{- if and (eq $values.strategy.type "RollingUpdate") (has (toString $rolling.maxSurge) $none) (has (toString $rolling.maxUnavailable) $none) -}}
{{- $_ := set $found "problems" (append $found.problems "strategy.rollingUpdate: maxSurge and maxUnavailable must not both be 0; nothing could be replaced") -}}
{{- end -}}
{{- end -}}

{{/* Monitors that nobody would scrape, or that count everything twice; links that lead nowhere. */}}
{{- define "lens-bridge.checkMonitors" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- if and $values.metrics.podMonitor.enabled $values.metrics.serviceMonitor.enabled -}}
{{- $_ := set $found "problems" (append $found.problems "set only one of metrics.podMonitor.enabled and metrics.serviceMonitor.enabled: with both every series is there twice") -}}
{{- end -}}
{{- range $name := list "podMonitor" "serviceMonitor" -}}
{{- $monitor := get $values.metrics $name -}}
{{- if and $monitor.interval (gt (include "lens-bridge.milliseconds" $monitor.scrapeTimeout | int) (include "lens-bridge.milliseconds" $monitor.interval | int)) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "metrics.%s.scrapeTimeout (%s) and metrics.%s.interval (%s): the first must not be larger" $name $monitor.scrapeTimeout $name $monitor.interval)) -}}
{{- end -}}
{{- end -}}
{{- $prefix := $values.metrics.prometheusRule.runbookPrefix -}}
{{- if and $prefix (not (regexMatch "^https?://[^/\\s]" $prefix)) -}}
{{- $_ := set $found "problems" (append $found.problems "metrics.prometheusRule.runbookPrefix: must begin with https:// or http://; a link to anything else is dead") -}}
{{- end -}}
{{- end -}}

{{/* A duration of Prometheus, e.g. 1m30s; 0 where there is none. */}}
{{- define "lens-bridge.milliseconds" -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" (default "" .) -1 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $total = add $total (mul (trimSuffix $unit . | int) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit)) -}}
{{- end -}}
{{- $total -}}
{{- end -}}
