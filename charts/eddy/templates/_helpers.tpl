{{- define "eddy.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: eddy
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "eddy.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "eddy.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "eddy.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "eddy.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector: {matchLabels: {app.kubernetes.io/name: {{ . }}}}
{{- end }}

{{- define "eddy.telemetryEnv" -}}
- {name: EDDY_LOG, value: {{ .Values.log | quote }}}
- {name: EDDY_LOG_FORMAT, value: json}
{{- if .Values.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .Values.otlpEndpoint | quote }}}
{{- end }}
{{- end }}

{{- define "eddy.tlsVolume" -}}
{name: tls, secret: {secretName: {{ .Values.storage.tls.secretName | default "eddy-storage-tls" }}, defaultMode: 0440}}
{{- end }}

{{- define "eddy.kvServers" -}}
{{- $servers := list }}
{{- range $number := until (int .Values.storage.kv.replicas) }}
{{- $servers = append $servers (printf "eddy-kv-%d.eddy-kv.%s.svc:7400" $number $.Release.Namespace) }}
{{- end }}
{{- join "," $servers }}
{{- end }}

{{- define "eddy.natsEnv" -}}
{{- $servers := list }}
{{- range $number := until (int .root.Values.nats.replicas) }}
{{- $servers = append $servers (printf "tls://eddy-nats-%d.eddy-nats.%s.svc:4222" $number $.root.Release.Namespace) }}
{{- end -}}
- {name: EDDY_NATS_SERVERS, value: {{ join "," $servers | quote }}}
- {name: EDDY_NATS_USER, value: {{ .user }}}
- {name: EDDY_NATS_PASSWORD_FILE, value: /nats/password}
- {name: EDDY_NATS_CA_FILE, value: /nats/ca.crt}
{{- end }}

{{- define "eddy.natsMounts" -}}
- {name: nats, mountPath: /nats, readOnly: true}
{{- end }}

{{- define "eddy.natsVolumes" -}}
- name: nats
  projected:
    defaultMode: 0440
    sources:
      - secret: {name: {{ .root.Values.nats.passwordsSecret | default "eddy-nats" }}, items: [{key: {{ .user }}, path: password}]}
      - secret: {name: {{ .root.Values.nats.tlsSecret | default "eddy-nats-tls" }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}

{{/* The providers that people may sign in by, as identity reads them. */}}
{{- define "eddy.providers" -}}
{{- $all := list }}
{{- range .Values.identity.signIn.providers }}
{{- $one := omit . "clientSecretName" "caSecretName" }}
{{- if .clientSecretName }}{{ $one = set (deepCopy $one) "clientSecretFile" (printf "/provider-secrets/%s/secret" .name) }}{{ end }}
{{- if .caSecretName }}{{ $one = set (deepCopy $one) "caFile" (printf "/provider-authorities/%s/ca.crt" .name) }}{{ end }}
{{- $all = append $all $one }}
{{- end }}
{{- $all | toJson }}
{{- end }}

{{/* A Service's ports for Routes, of one protocol. */}}
{{- define "eddy.gatewayPorts" -}}
{{- $protocol := .protocol -}}
{{- $service := .root.Values.gateway.service -}}
{{- range .root.Values.gateway.ports }}
{{- if eq .protocol $protocol }}
    - name: {{ lower .protocol }}-{{ .port }}
      port: {{ .port }}
      targetPort: {{ .port }}
      protocol: {{ .protocol }}
      {{- if and .nodePort (ne $service.type "ClusterIP") }}
      nodePort: {{ .nodePort }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The Secrets that the operator serves Domains with. */}}
{{- define "eddy.domainSecrets" -}}
{{- with .Values.domains }}
{{- if and .acme.directory .acme.caSecretName }}
- {name: acme-ca, secret: {{ .acme.caSecretName }}, key: ca.crt}
{{- end }}
{{- if and .acme.directory .acme.external.secretName }}
- {name: acme-external, secret: {{ .acme.external.secretName }}, key: key}
{{- end }}
{{- if and .dns01.endpoint .dns01.secretName }}
- {name: dns01, secret: {{ .dns01.secretName }}, key: credentials}
{{- end }}
{{- if and .dns01.endpoint .dns01.caSecretName }}
- {name: dns01-ca, secret: {{ .dns01.caSecretName }}, key: ca.crt}
{{- end }}
{{- end }}
{{- end }}
