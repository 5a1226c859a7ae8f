{{- define "vsock-proxy.selector" -}}
app.kubernetes.io/name: vsock-proxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vsock-proxy.labels" -}}
{{ include "vsock-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "vsock-proxy.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What the values say, and what the pod stands on. */}}
{{- define "vsock-proxy.config" -}}
{{- $metrics := dict "listen" (printf "tcp:0.0.0.0:%d" (int .Values.port)) }}
{{- $timeouts := mergeOverwrite (deepCopy (.Values.config.timeouts | default dict)) (dict "drain" (printf "%ds" (int .Values.drainSeconds))) }}
{{- mergeOverwrite (deepCopy .Values.config) (dict "metrics" $metrics "timeouts" $timeouts) | toYaml }}
{{- end }}
