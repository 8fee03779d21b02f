{{- define "bigbatch.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "bigbatch.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bigbatch.labels" -}}
{{ include "bigbatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "bigbatch.image" -}}
{{- $variant := ternary "cuda" "cpu" .Values.gpu.enabled -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion $variant) }}
{{- end }}

{{- define "bigbatch.scheme" -}}
{{ ternary "https" "http" (ne .Values.tls.secret "") }}
{{- end }}

{{/* The labels of this release's series. */}}
{{- define "bigbatch.series" -}}
namespace="{{ .Release.Namespace }}",service="{{ include "bigbatch.name" . }}"
{{- end }}

{{/* Whether a model has to be fetched: its source is neither embedded nor a directory. */}}
{{- define "bigbatch.fetches" -}}
{{- if not .Values.hub.offline -}}
{{- range .Values.models -}}
{{- if not (regexMatch "^(/|embedded(:|$))" .source) }}true{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* MiB of a size such as 2GiB or 512MiB. */}}
{{- define "bigbatch.mib" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{ ternary (mul $number 1024) $number (hasSuffix "GiB" .) }}
{{- end }}

{{/* MiB of the container: what requests hold, the overhead, and without a GPU the memory budget. */}}
{{- define "bigbatch.memoryMiB" -}}
{{- $overhead := .Values.resources.overheadMiB | default (ternary 3072 512 .Values.gpu.enabled) | int -}}
{{- $requests := include "bigbatch.mib" .Values.options.host_memory_budget | int -}}
{{- $budget := ternary 0 (include "bigbatch.mib" .Values.options.memory_budget | int) .Values.gpu.enabled -}}
{{ add $budget $requests $overhead }}
{{- end }}

{{/* --drain-delay and --drain-timeout, and room for the log and the exit. */}}
{{- define "bigbatch.graceSeconds" -}}
{{- $options := .Values.options -}}
{{- $timeout := hasKey $options "drain_timeout" | ternary $options.drain_timeout $options.request_timeout -}}
{{ add (ceil $options.drain_delay) (ceil $timeout) 15 }}
{{- end }}

{{/* The options of `serve`, in the order of their names. A list is an option that is given several times. */}}
{{- define "bigbatch.args" -}}
- serve
- --host=0.0.0.0
- --port=8080
- --device={{ ternary "cuda" "cpu" .Values.gpu.enabled }}
{{- range .Values.models }}
- {{ printf "--model=%s%s" (ternary (printf "%v=" .name) "" (hasKey . "name")) .source | quote }}
{{- end }}
{{- if .Values.auth.secret }}
- --api-key-file=/etc/bigbatch/keys/{{ .Values.auth.key }}
{{- end }}
{{- if .Values.tls.secret }}
- --tls-cert=/etc/bigbatch/tls/tls.crt
- --tls-key=/etc/bigbatch/tls/tls.key
{{- end }}
{{- range $key, $value := .Values.options }}
{{- range (kindIs "slice" $value | ternary $value (list $value)) }}
- {{ printf "--%s=%s" ($key | replace "_" "-") (include "bigbatch.value" .) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* A value as it was written: Helm reads 2000000 as a float, which would be printed as 2e+06. */}}
{{- define "bigbatch.value" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{/* The seconds of work that are admitted, over all pods and models. */}}
{{- define "bigbatch.waitQuery" -}}
sum(avg_over_time(bigbatch_predicted_wait_seconds{ {{- include "bigbatch.series" . -}} }[1m]))
{{- end }}

{{/* The devices that are busy, over all pods: 1.4 of 2 pods are 70 percent. */}}
{{- define "bigbatch.busyQuery" -}}
sum(rate(bigbatch_device_seconds_total{ {{- include "bigbatch.series" . -}} }[2m]))
{{- end }}
