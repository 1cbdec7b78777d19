{{/* The image with its digest, or else with its tag. */}}
{{- define "waxseal.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* The flags of the controller that differ from their defaults, as environment variables. */}}
{{- define "waxseal.environment" -}}
{{- with .Values.namespaces }}
- name: WAXSEAL_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.keyNamespace }}
- name: WAXSEAL_KEY_NAMESPACE
  value: {{ . | quote }}
{{- end }}
{{- if not .Values.keyGeneration }}
- name: WAXSEAL_NO_KEY_GENERATION
  value: "true"
{{- end }}
{{- with .Values.renewAfter }}
- name: WAXSEAL_RENEW_AFTER
  value: {{ . | quote }}
{{- end }}
{{- with .Values.recoveryRecipients }}
- name: WAXSEAL_RECOVERY_RECIPIENT
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.recoveryRecipientsConfigMap }}
- name: WAXSEAL_RECOVERY_RECIPIENTS_FILE
  value: /etc/waxseal/recipients
{{- end }}
{{- with .Values.forbidMetadata }}
- name: WAXSEAL_FORBID_METADATA
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.logFormat }}
- name: WAXSEAL_LOG_FORMAT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.listen }}
- name: WAXSEAL_LISTEN
  value: {{ . | quote }}
{{- end }}
{{- with .Values.metricsListen }}
- name: WAXSEAL_METRICS_LISTEN
  value: {{ . | quote }}
{{- end }}
{{- end }}
