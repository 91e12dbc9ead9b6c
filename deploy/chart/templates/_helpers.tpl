{{/* The release's name, unless it is said otherwise; it also names the model, so that several fit into one namespace. */}}
{{- define "sdrpn.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "sdrpn.selector" -}}
app.kubernetes.io/name: sdrpn
app.kubernetes.io/instance: {{ include "sdrpn.name" . }}
{{- end -}}

{{- define "sdrpn.routerSelector" -}}
app.kubernetes.io/name: sdrpn-router
app.kubernetes.io/instance: {{ include "sdrpn.name" . }}
{{- end -}}

{{- define "sdrpn.labels" -}}
{{ include "sdrpn.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sdrpn
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "sdrpn.routerLabels" -}}
{{ include "sdrpn.routerSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sdrpn
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "sdrpn.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end -}}

{{- define "sdrpn.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sdrpn.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Whether the models lie on a claim that outlives the pods. */}}
{{- define "sdrpn.models" -}}
{{- if not .Values.model.name }}
emptyDir:
  sizeLimit: 2Gi
{{- else if .Values.storage.existingClaim }}
persistentVolumeClaim:
  claimName: {{ .Values.storage.existingClaim }}
{{- else if .Values.storage.shared }}
persistentVolumeClaim:
  claimName: {{ include "sdrpn.name" . }}-models
{{- else }}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .Values.storage.className }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .Values.storage.size }}
{{- end }}
{{- end -}}

{{/* Where a model or an RPN that is named by its Hub name is downloaded to; a path is left as it is. */}}
{{- define "sdrpn.path" -}}
{{- if or (hasPrefix "/" .) (eq "" .) -}}{{ . }}{{- else -}}/models/{{ trimPrefix "hf://" . }}{{- end -}}
{{- end -}}

{{- define "sdrpn.downloadEnvironment" -}}
- {name: HOME, value: /tmp}
- {name: HF_HOME, value: /tmp/hf}
{{- with .Values.huggingFace.endpoint }}
- {name: HF_ENDPOINT, value: {{ . | quote }}}
{{- end }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.huggingFace.secret }}
      key: {{ .Values.huggingFace.key }}
      optional: true
{{- end -}}

{{- define "sdrpn.arguments" -}}
{{- with .Values.model.name }}
- {{ include "sdrpn.path" . }}
{{- end }}
{{- with .Values.model.rpn }}
- --rpn={{ include "sdrpn.path" . }}
{{- end }}
{{- with .Values.model.servedName }}
- --served-model-name={{ . }}
{{- end }}
{{- if gt (int .Values.gpus) 1 }}
- --tensor-parallel-size={{ .Values.gpus }}
{{- end }}
{{- range .Values.model.args }}
- {{ . | quote }}
{{- end }}
{{- end -}}
