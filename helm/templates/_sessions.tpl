{{/* The sessions, however they are written, as a list in JSON of `where` in the values, `name` and `session_id`; and of
a mapping whether it lacks its id (`incomplete`), has a second name (`renamed`), and the keys in it that a session does
not have (`unknown`). */}}
{{- define "lens-bridge.sessionList" -}}
{{- $list := list -}}
{{- $sessions := default list .Values.sessions -}}
{{- if kindIs "map" $sessions -}}
{{- range $name, $one := $sessions -}}
{{- $where := printf "sessions.%s" $name -}}
{{- if kindIs "map" $one -}}
{{- $list = append $list (dict "where" $where "name" $name "session_id" (get $one "session_id") "incomplete" (not (hasKey $one "session_id")) "renamed" (hasKey $one "name") "unknown" (omit $one "name" "session_id" | keys | sortAlpha)) -}}
{{- else -}}
{{- $list = append $list (dict "where" $where "name" $name "session_id" $one) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range $place, $one := $sessions -}}
{{- $where := printf "sessions[%d]" $place -}}
{{- if kindIs "map" $one -}}
{{- $id := get $one "session_id" -}}
{{- $list = append $list (dict "where" $where "name" (hasKey $one "name" | ternary (get $one "name") $id) "session_id" $id "incomplete" (not (hasKey $one "session_id")) "unknown" (omit $one "name" "session_id" | keys | sortAlpha)) -}}
{{- else if and (kindIs "string" $one) (contains "=" $one) -}}
{{- $parts := splitn "=" 2 $one -}}
{{- $list = append $list (dict "where" $where "name" (trim $parts._0) "session_id" (trim $parts._1)) -}}
{{- else -}}
{{- $list = append $list (dict "where" $where "name" $one "session_id" $one) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $list -}}
{{- end -}}

{{/* Names, ids, and that no two sessions get into each other's way: the rules of bridge/model/keys.py. */}}
{{- define "lens-bridge.checkSessions" -}}
{{- $found := index . 1 -}}
{{- $template := include "lens-bridge.setting" (list (index . 0) "stream" "key") -}}
{{- $problem := include "lens-bridge.templateProblem" $template -}}
{{- if $problem -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.stream.key: %s" $problem)) -}}
{{- end -}}
{{- $names := list -}}
{{- $places := dict -}}
{{- $streams := dict -}}
{{- $misread := include "lens-bridge.misread" $template -}}
{{- range include "lens-bridge.sessionList" (index . 0) | fromJsonArray -}}
{{- $one := . -}}
{{- $wrong := "" -}}
{{- range list "name" "session_id" -}}
{{- $text := get $one . -}}
{{- if not (and (kindIs "string" $text) (regexMatch "^[A-Za-z0-9._:-]{1,128}$" $text)) -}}
{{- $wrong = . -}}
{{- end -}}
{{- end -}}
{{- if .incomplete -}}
{{- $wrong = "session_id is required: the id that the lens API gave" -}}
{{- else if .renamed -}}
{{- $wrong = "the name stands in front already; remove name" -}}
{{- else if .unknown -}}
{{- $wrong = printf "%s is unknown; a session has session_id and name" (index .unknown 0) -}}
{{- else if $wrong -}}
{{- $wrong = printf "%s must be text, 1 to 128 of A-Z a-z 0-9 . _ : - (quote what YAML takes for a number)" $wrong -}}
{{- else if has .name $names -}}
{{- $wrong = printf "the name %s is given twice; names must be unique" .name -}}
{{- else if not $problem -}}
{{- $keys := include "lens-bridge.sessionKeys" (list $template .name .session_id) | fromJson -}}
{{- if $keys.problem -}}
{{- $wrong = printf "does not go with config.stream.key: it %s" $keys.problem -}}
{{- else if hasKey $places $keys.state -}}
{{- $wrong = printf "%s and %s read %s into the same place; remove one, or put <name> into the braces of config.stream.key" (get $places $keys.state) .name .session_id -}}
{{- else if and $misread (hasKey $streams $keys.events) -}}
{{- $wrong = printf "%s and %s would share the one stream %s, since %s in config.stream.key is no placeholder; write {<name>}, or e.g. {all} if they are meant to share it" (get $streams $keys.events) .name $keys.events $misread -}}
{{- else -}}
{{- $_ := set $places $keys.state .name -}}
{{- $_ := set $streams $keys.events .name -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- $_ := set $found "problems" (append $found.problems (printf "%s: %s" .where $wrong)) -}}
{{- else -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Routes, as a list in JSON of `glob` and `key`, in the order in which the worker meets them. */}}
{{- define "lens-bridge.routeList" -}}
{{- $list := list -}}
{{- $config := default dict .Values.config -}}
{{- $routes := get (default dict (get $config "stream")) "routes" -}}
{{- range $part := kindIs "map" $routes | ternary (list $routes) (default list $routes) -}}
{{- range $glob, $key := $part -}}
{{- $list = append $list (dict "glob" (trim $glob) "key" $key) -}}
{{- end -}}
{{- end -}}
{{- toJson $list -}}
{{- end -}}

{{/* Routes lead to streams of the same slot, to none of the bridge's own keys, and each is reached. */}}
{{- define "lens-bridge.checkRoutes" -}}
{{- $found := index . 1 -}}
{{- $main := include "lens-bridge.setting" (list (index . 0) "stream" "key") -}}
{{- $sample := include "lens-bridge.sessionKeys" (list $main "name" "lsn-id") | fromJson -}}
{{- $globs := list -}}
{{- $others := dict -}}
{{- range include "lens-bridge.routeList" (index . 0) | fromJsonArray -}}
{{- $one := . -}}
{{- $wrong := include "lens-bridge.templateProblem" .key -}}
{{- $keys := include "lens-bridge.sessionKeys" (list .key "name" "lsn-id") | fromJson -}}
{{- if and (not $wrong) (ne $keys.state $sample.state) -}}
{{- $wrong = "stands in another hash slot than config.stream.key; give both the same text in braces" -}}
{{- else if and (not $wrong) (ne $keys.events $sample.events) (regexMatch "^lens:[{][^}]*[}]:(state|seen|lease):" $keys.events) -}}
{{- $wrong = "is a key that the bridge needs for itself; use another name" -}}
{{- else if has .glob $globs -}}
{{- $wrong = "stands there twice" -}}
{{- end -}}
{{- range $globs -}}
{{- if and (not $wrong) (not (regexMatch `[?\[]` .)) (regexMatch (printf "(?s)^%s$" (regexQuoteMeta . | replace `\*` ".*")) $one.glob) -}}
{{- $wrong = printf "is never reached, since %s stands before it and takes all of its types; write a list, whose order nothing changes" . -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.stream.routes: %s: %s" .glob $wrong)) -}}
{{- end -}}
{{- $globs = append $globs .glob -}}
{{- if ne .key $main -}}
{{- $_ := set $others .key true -}}
{{- end -}}
{{- end -}}
{{- if gt (len $others) 12 -}}
{{- $_ := set $found "problems" (append $found.problems (printf "config.stream.routes: %d keys beside config.stream.key; a commit has room for 12" (len $others))) -}}
{{- end -}}
{{- end -}}

{{/* The template of the names of sessions that are found: the rule of name_template in bridge/settings/values.py. */}}
{{- define "lens-bridge.checkDiscovery" -}}
{{- $found := index . 1 -}}
{{- $template := include "lens-bridge.setting" (list (index . 0) "discovery" "name") -}}
{{- $rest := $template | replace "<session_id>" "" | replace "<lens_id>" "" -}}
{{- if eq $rest $template -}}
{{- $_ := set $found "problems" (append $found.problems "config.discovery.name: must hold <session_id> or <lens_id>; one name cannot stand for all sessions") -}}
{{- else if not (regexMatch "^[A-Za-z0-9._:-]{0,100}$" $rest) -}}
{{- $_ := set $found "problems" (append $found.problems "config.discovery.name: must be <session_id>, <lens_id> and up to 100 of A-Z a-z 0-9 . _ : -") -}}
{{- end -}}
{{- end -}}

{{/* What is wrong with a template of stream keys, whatever the sessions; nothing where it is right. */}}
{{- define "lens-bridge.templateProblem" -}}
{{- $unknown := "" -}}
{{- range regexFindAll "<[^<>]*>" . -1 -}}
{{- if not (has . (list "<name>" "<session_id>")) -}}
{{- $unknown = . -}}
{{- end -}}
{{- end -}}
{{- if or (empty .) (hasPrefix "<" .) -}}
needs a fixed beginning, e.g. lens:{<name>}:events
{{- else if $unknown -}}
unknown placeholder {{ $unknown }}; use <name> or <session_id>
{{- else -}}
{{- with (include "lens-bridge.sessionKeys" (list . "name" "lsn-id") | fromJson).problem -}}
it {{ . }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The part of a template that other tools would fill in, e.g. {name}; here braces stand for themselves. */}}
{{- define "lens-bridge.misread" -}}
{{- regexFind `(?i)\{[\s{.$]*(session|(session[-_ ]?)?(name|id))[\s}]*\}` . -}}
{{- end -}}

{{/* (list TEMPLATE NAME ID): the keys of the events and of the state, or the problem, as JSON. */}}
{{- define "lens-bridge.sessionKeys" -}}
{{- $id := index . 2 -}}
{{- $events := index . 0 | replace "<name>" (index . 1) | replace "<session_id>" $id -}}
{{- $tag := regexReplaceAll `(?s)^[^{]*\{([^}]+)\}.*$` $events "${1}" -}}
{{- $prefix := printf "lens:{%s}:" $tag -}}
{{- $state := printf "%sstate:%s" $prefix $id -}}
{{- $own := list $state (print $prefix "dead-letter") (print $prefix "seen:" $id) (print $prefix "lease:" $id) "lens:sessions" "lens:workers" -}}
{{- $problem := "" -}}
{{- if contains "}" $tag -}}
{{- $problem = "has braces that leave no usable hash tag" -}}
{{- else if has $events $own -}}
{{- $problem = printf "gives %s, which the bridge needs for itself; use another name" $events -}}
{{- end -}}
{{- dict "events" $events "state" $state "problem" $problem | toJson -}}
{{- end -}}
