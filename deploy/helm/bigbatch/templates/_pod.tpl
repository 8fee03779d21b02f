{{/* The parts of the container that are long; templates/deployment.yaml puts them together. */}}

{{- define "bigbatch.env" -}}
env:
  - name: XDG_CACHE_HOME
    value: /cache
  {{- if .Values.hub.offline }}
  - name: HF_HUB_OFFLINE
    value: "1"
  {{- end }}
  {{- with .Values.hub.endpoint }}
  - name: HF_ENDPOINT
    value: {{ . | quote }}
  {{- end }}
  {{- with .Values.hub.tokenSecret }}
  - name: HF_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ $.Values.hub.tokenKey }}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "bigbatch.probes" -}}
{{- $port := include "bigbatch.scheme" . -}}
# Until models are loaded; the other probes begin after it.
startupProbe:
  httpGet:
    path: /ready
    port: {{ $port }}
    scheme: {{ upper $port }}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: {{ div (add .Values.startupSeconds 4) 5 }}
# 503 while the server drains; not under load.
readinessProbe:
  httpGet:
    path: /ready
    port: {{ $port }}
    scheme: {{ upper $port }}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
# An idle device answers with a forward pass of its own, within 5 s.
livenessProbe:
  httpGet:
    path: /health
    port: {{ $port }}
    scheme: {{ upper $port }}
  periodSeconds: 15
  timeoutSeconds: 8
  failureThreshold: 3
{{- end }}

{{- define "bigbatch.resources" -}}
{{- $memory := printf "%sMi" (include "bigbatch.memoryMiB" .) -}}
requests:
  cpu: {{ .Values.resources.cpu | quote }}
  memory: {{ $memory }}
limits:
  cpu: {{ .Values.resources.cpu | quote }}
  memory: {{ $memory }}
  {{- if .Values.gpu.enabled }}
  {{ .Values.gpu.resource }}: 1
  {{- end }}
{{- end }}

{{- define "bigbatch.mounts" -}}
volumeMounts:
  - name: cache
    mountPath: /cache
  {{- if or .Values.modelVolume.claim .Values.modelVolume.image }}
  - name: models
    mountPath: {{ .Values.modelVolume.mountPath }}
    readOnly: true
  {{- end }}
  {{- if .Values.auth.secret }}
  - name: keys
    mountPath: /etc/bigbatch/keys
    readOnly: true
  {{- end }}
  {{- if .Values.tls.secret }}
  - name: tls
    mountPath: /etc/bigbatch/tls
    readOnly: true
  {{- end }}
{{- end }}

{{- define "bigbatch.volumes" -}}
volumes:
  - name: cache
    {{- if .Values.cache.claim }}
    persistentVolumeClaim:
      claimName: {{ .Values.cache.claim }}
    {{- else }}
    emptyDir:
      sizeLimit: {{ .Values.cache.sizeLimit }}
    {{- end }}
  {{- with .Values.modelVolume.claim }}
  - name: models
    persistentVolumeClaim:
      claimName: {{ . }}
      readOnly: true
  {{- end }}
  {{- with .Values.modelVolume.image }}
  - name: models
    image:
      reference: {{ . | quote }}
      pullPolicy: {{ $.Values.image.pullPolicy }}
  {{- end }}
  {{- with .Values.auth.secret }}
  - name: keys
    secret:
      secretName: {{ . }}
      defaultMode: 0440
      items:
        - key: {{ $.Values.auth.key }}
          path: {{ $.Values.auth.key }}
  {{- end }}
  {{- with .Values.tls.secret }}
  - name: tls
    secret:
      secretName: {{ . }}
      defaultMode: 0440
  {{- end }}
{{- end }}
