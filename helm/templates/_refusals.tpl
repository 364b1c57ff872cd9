{{/* Refuses what no worker could run with: a line for each problem, which names the value and says what to do. Every
template begins with it, since Helm promises no order and what is refused here would break any of them. */}}
{{- define "lens-bridge.checked" -}}
{{- $found := dict "problems" list -}}
{{- include "lens-bridge.misplaced" (list . $found) -}}
{{- if not $found.problems -}}{{/* Only where the shapes are right can the rest look into them. */}}
{{- include "lens-bridge.checkImage" (list . $found) -}}
{{- include "lens-bridge.checkSecrets" (list . $found) -}}
{{- include "lens-bridge.checkPod" (list . $found) -}}
{{- include "lens-bridge.checkScale" (list . $found) -}}
{{- include "lens-bridge.checkMonitors" (list . $found) -}}
{{- include "lens-bridge.checkAddresses" (list . $found) -}}
{{- include "lens-bridge.checkPairs" (list . $found) -}}
{{- include "lens-bridge.checkSessions" (list . $found) -}}
{{- include "lens-bridge.checkRoutes" (list . $found) -}}
{{- include "lens-bridge.checkDiscovery" (list . $found) -}}
{{- include "lens-bridge.checkServe" (list . $found) -}}
{{- end -}}
{{- with $found.problems -}}
{{- fail (uniq . | join "\n") -}}
{{- end -}}
{{- end -}}

{{/* Values that are called otherwise, texts in the place of mappings, and nulls: refused-values.yaml; and the worker's
settings outside of `config`. */}}
{{- define "lens-bridge.misplaced" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- $refused := (index . 0).Files.Get "refused-values.yaml" | fromYaml -}}
{{- range $path, $advice := $refused.mappings -}}
{{- $place := include "lens-bridge.at" (list $values $path) | fromJson -}}
{{- if and $place.parent (not (kindIs "map" $place.value)) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s: %s" $path $advice)) -}}
{{- end -}}
{{- end -}}
{{- range $path := $refused.needed -}}
{{- $place := include "lens-bridge.at" (list $values $path) | fromJson -}}
{{- if and $place.parent (not $place.set) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s: must not be null; leave it out, and its default holds (where a newer chart says this, use --reset-then-reuse-values in the place of --reuse-values)" $path)) -}}
{{- end -}}
{{- end -}}
{{- range $path, $advice := $refused.never -}}
{{- $place := include "lens-bridge.at" (list $values $path) | fromJson -}}
{{- if $place.set -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s: %s" $path $advice)) -}}
{{- end -}}
{{- end -}}
{{- range $section, $settings := include "lens-bridge.defaults" (index . 0) | fromYaml -}}
{{- if not (has $section (list "source" "redis" "metrics" "serve")) -}}
{{- if hasKey $values $section -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s: set config.%s instead" $section $section)) -}}
{{- end -}}
{{- else if kindIs "map" (get $values $section) -}}
{{- range $name, $_ := $settings -}}
{{- $own := has (printf "%s.%s" $section $name) (list "redis.url" "redis.username" "redis.password" "redis.sentinel_username" "redis.sentinel_password" "serve.token") -}}
{{- $place := include "lens-bridge.at" (list $values (printf "%s.%s" $section $name)) | fromJson -}}
{{- if and $place.set (not $own) -}}
{{- $advice := eq $name "api_key" | ternary "no value holds a key; put it into a Secret and set apiKey.existingSecret to its name" (printf "set config.%s.%s instead" $section $name) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s.%s: %s" $section $name $advice)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Streams for others, and who may read them. */}}
{{- define "lens-bridge.checkServe" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- $own := default dict $values.config.serve -}}
{{- $given := or $values.serve.token.existingSecret $own.token_file -}}
{{- if and $values.serve.token.existingSecret $own.token_file -}}
{{- $_ := set $found "problems" (append $found.problems "serve.token.existingSecret and config.serve.token_file: set only one") -}}
{{- end -}}
{{- if and $values.serve.enabled (not $given) (not $own.anonymous) -}}
{{- $_ := set $found "problems" (append $found.problems "serve.token.existingSecret: required with serve.enabled; set it to the name of the Secret that holds the token, or config.serve.anonymous to true if all who reach it may read") -}}
{{- end -}}
{{- if and $values.serve.enabled (eq (include "lens-bridge.setting" (list (index . 0) "serve" "port")) (include "lens-bridge.setting" (list (index . 0) "serve" "admin_port"))) -}}
{{- $_ := set $found "problems" (append $found.problems "config.serve.port and config.serve.admin_port: must differ") -}}
{{- end -}}
{{- end -}}

{{/* (list VALUES "a.b.c"): whether something is there, what it is, and whether what is above it is a mapping. */}}
{{- define "lens-bridge.at" -}}
{{- $place := index . 0 -}}
{{- $parent := true -}}
{{- range $name := splitList "." (index . 1) -}}
{{- $parent = kindIs "map" $place -}}
{{- if and $parent (hasKey $place $name) -}}
{{- $place = index $place $name -}}
{{- else -}}
{{- $place = index dict "nothing" -}}
{{- end -}}
{{- end -}}
{{- dict "parent" $parent "set" (not (kindIs "invalid" $place)) "value" $place | toJson -}}
{{- end -}}

{{- define "lens-bridge.checkImage" -}}
{{- $image := (index . 0).Values.image -}}
{{- $found := index . 1 -}}
{{- if not $image.repository -}}
{{- $_ := set $found "problems" (append $found.problems "set image.repository to where you pushed the image that the Dockerfile builds, with the registry") -}}
{{- else if regexMatch "[:@][^/]*$" $image.repository -}}
{{- $_ := set $found "problems" (append $found.problems "image.repository: must hold no tag and no digest; set image.tag or image.digest") -}}
{{- end -}}
{{- end -}}

{{/* One source for each secret, as the worker wants it; none of them as plain text in a variable. What `envFrom` brings
can't be seen, so with it nothing is missed. */}}
{{- define "lens-bridge.checkSecrets" -}}
{{- $values := (index . 0).Values -}}
{{- $found := index . 1 -}}
{{- $variables := list -}}
{{- range $values.extraEnv -}}
{{- $variables = append $variables .name -}}
{{- if regexMatch "^(BRIDGE_|ATAI_API_KEY$)" .name -}}
{{- if not (has .name (list "ATAI_API_KEY" "BRIDGE_SOURCE__API_KEY" "BRIDGE_REDIS__PASSWORD" "BRIDGE_REDIS__SENTINEL_PASSWORD" "BRIDGE_SOURCE__PROXY")) -}}
{{- $_ := set $found "problems" (append $found.problems (printf "extraEnv: %s is a setting or unknown; settings belong below config" .name)) -}}
{{- else if not .valueFrom -}}
{{- $_ := set $found "problems" (append $found.problems (printf "extraEnv: %s must not stand here as plain text; give it valueFrom with a secretKeyRef" .name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $source := default dict $values.config.source -}}
{{- $redis := default dict $values.config.redis -}}
{{- $trial := $values.redis.trial.enabled -}}
{{- $keys := compact (list
  (ternary "apiKey.existingSecret" "" (not (empty $values.apiKey.existingSecret)))
  (ternary "config.source.api_key_file" "" (not (empty $source.api_key_file)))
  (ternary "extraEnv with ATAI_API_KEY" "" (has "ATAI_API_KEY" $variables))
  (ternary "extraEnv with BRIDGE_SOURCE__API_KEY" "" (has "BRIDGE_SOURCE__API_KEY" $variables))) -}}
{{- $passwords := compact (list
  (ternary "redis.password.existingSecret" "" (not (empty $values.redis.password.existingSecret)))
  (ternary "config.redis.password_file" "" (not (empty $redis.password_file)))
  (ternary "extraEnv with BRIDGE_REDIS__PASSWORD" "" (has "BRIDGE_REDIS__PASSWORD" $variables))) -}}
{{- $sentinels := compact (list
  (ternary "redis.sentinel.password.existingSecret" "" (not (empty $values.redis.sentinel.password.existingSecret)))
  (ternary "config.redis.sentinel_password_file" "" (not (empty $redis.sentinel_password_file)))
  (ternary "extraEnv with BRIDGE_REDIS__SENTINEL_PASSWORD" "" (has "BRIDGE_REDIS__SENTINEL_PASSWORD" $variables))) -}}
{{- if not (or $keys $values.envFrom) -}}
{{- $_ := set $found "problems" (append $found.problems "set apiKey.existingSecret to the name of a Secret that holds your API key under `api-key`, or config.source.api_key_file to a file that extraVolumes brings") -}}
{{- end -}}
{{- if and $values.redis.username (ne $values.redis.username "default") (not (or $passwords $trial $values.envFrom)) -}}
{{- $_ := set $found "problems" (append $found.problems "redis.username: needs redis.password.existingSecret or config.redis.password_file; a user without a password would connect as `default`") -}}
{{- end -}}
{{- if and $values.redis.sentinel.username (ne $values.redis.sentinel.username "default") (not (or $sentinels $trial $values.envFrom)) -}}
{{- $_ := set $found "problems" (append $found.problems "redis.sentinel.username: needs redis.sentinel.password.existingSecret or config.redis.sentinel_password_file; a user without a password would connect as `default`") -}}
{{- end -}}
{{- if and (include "lens-bridge.redisTls" (index . 0)) (ne (empty $redis.cert_file) (empty $redis.key_file)) -}}
{{- $_ := set $found "problems" (append $found.problems "config.redis.cert_file and config.redis.key_file: one is of no use without the other; set both, or redis.clientCertificate.existingSecret") -}}
{{- end -}}
{{- range list $keys $passwords $sentinels
  (compact (list (ternary "source.ca.existingSecret" "" (not (empty $values.source.ca.existingSecret))) (ternary "config.source.ca_file" "" (not (empty $source.ca_file)))))
  (compact (list (ternary "redis.ca.existingSecret" "" (not (empty $values.redis.ca.existingSecret))) (ternary "config.redis.ca_file" "" (not (empty $redis.ca_file)))))
  (compact (list (ternary "redis.clientCertificate.existingSecret" "" (not (empty $values.redis.clientCertificate.existingSecret))) (ternary "config.redis.cert_file" "" (not (empty $redis.cert_file))))) -}}
{{- if gt (len .) 1 -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s: set only one" (join " and " .))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
