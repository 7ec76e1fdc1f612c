{{/* Labels of what the chart installs. managed-by is never "sallyport": that marks what the operator writes. */}}
{{- define "sallyport.labels" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: sallyport
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "sallyport.selector" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* An image by digest where one is given, else by tag, else by the chart's version. */}}
{{- define "sallyport.image" -}}
{{- $image := index . 0 }}{{ $root := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Restricted Pod Security, for every container of ours. */}}
{{- define "sallyport.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "sallyport.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* CEL: whether the request comes from somebody whom the installation exempts from the fences. */}}
{{- define "sallyport.cel.exempt" -}}
request.userInfo.username in {{ .Values.fences.exemptUsers | toJson }}
  || (has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ .Values.fences.exemptGroups | toJson }}))
{{- end }}

{{/* CEL: whether the request comes from the operator. */}}
{{- define "sallyport.cel.operator" -}}
request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:sallyport-operator' || {{ include "sallyport.cel.exempt" . }}
{{- end }}

{{/* CEL: whether the request comes from a controller of Kubernetes itself, which acts on what somebody else was allowed to write. */}}
{{- define "sallyport.cel.controllers" -}}
request.userInfo.username == 'system:kube-controller-manager' || request.userInfo.username in [
  'deployment-controller', 'replicaset-controller', 'replication-controller', 'statefulset-controller', 'daemon-set-controller',
  'job-controller', 'cronjob-controller', 'generic-garbage-collector', 'namespace-controller'
].map(name, 'system:serviceaccount:kube-system:' + name)
{{- end }}
