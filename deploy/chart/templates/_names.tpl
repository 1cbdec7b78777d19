{{/* The end of the name of an object that has no namespace. Releases in two namespaces must not collide. */}}
{{- define "waxseal.suffix" -}}
{{ if ne .Release.Namespace "waxseal-system" }}-{{ .Release.Namespace }}{{ end }}
{{- end }}

{{/* The name of an object of the controller that has no namespace. */}}
{{- define "waxseal.clusterWideName" -}}
waxseal-controller{{ include "waxseal.suffix" . }}
{{- end }}

{{/* The namespace of the private keys and of the SealingKeys. */}}
{{- define "waxseal.keyNamespace" -}}
{{ .Values.keyNamespace | default .Release.Namespace }}
{{- end }}

{{/* The user's labels, as a field of `metadata`. */}}
{{- define "waxseal.labels" -}}
{{- with .Values.labels }}
  labels:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The ServiceAccount, as the `subjects` of a binding. */}}
{{- define "waxseal.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: waxseal-controller
    namespace: {{ .Release.Namespace }}
{{- end }}
