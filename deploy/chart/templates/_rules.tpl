{{/* The rules for the namespaces, or the cluster, that the controller watches. */}}
{{- define "waxseal.rulesToWatch" -}}
rules:
  - apiGroups: [waxseal.dev]
    resources: [sealedsecrets]
    verbs: [get, list, watch]
  - apiGroups: [waxseal.dev]
    resources: [sealedsecrets/status]
    verbs: [patch]
  # Without delete: the garbage collector deletes a Secret after the SealedSecret that owns it.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [get, list, watch, create, patch]
{{- end }}

{{/* The rules for the admission plugin OwnerReferencesPermissionEnforcement. */}}
{{- define "waxseal.rulesForOwnerReferences" -}}
rules:
  - apiGroups: [""]
    resources: [secrets]
    verbs: [delete]
{{- end }}
