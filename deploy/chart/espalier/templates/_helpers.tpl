{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The image, by digest where one is given. */}}
{{- define "espalier.image" -}}
{{- $repository := required "image.repository is required: no image is published, see docs/install.md" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* An object of the manifests that the Kustomize base is made of, as this release has it. */}}
{{- define "espalier.object" -}}
{{- $o := .object -}}
{{- $ours := dict "app.kubernetes.io/name" "espalier" "app.kubernetes.io/part-of" "espalier" "app.kubernetes.io/managed-by" .root.Release.Service "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) -}}
{{- $_ := set $o.metadata "labels" (merge $ours ($o.metadata.labels | default dict)) -}}
---
{{ toYaml $o }}
{{ end -}}

{{/* The text of a manifest, in the release's namespace. */}}
{{- define "espalier.text" -}}
{{ .root.Files.Get (printf "files/%s" .file) | replace "espalier-system" .root.Release.Namespace }}
{{- end -}}

{{/* Every object of a manifest. */}}
{{- define "espalier.objects" -}}
{{- $root := .root -}}
{{- range splitList "\n---\n" (printf "\n%s" (include "espalier.text" .)) -}}
{{- $o := fromYaml . -}}
{{- if $o.kind }}
{{ include "espalier.object" (dict "root" $root "object" $o) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What values say of a Deployment: image, arguments, and where it runs. */}}
{{- define "espalier.deployment" -}}
{{- $root := .root -}}
{{- $o := fromYaml (include "espalier.text" .) -}}
{{- $v := .values -}}
{{- $_ := set $o.spec "replicas" (int $v.replicas) -}}
{{- $pod := $o.spec.template.spec -}}
{{- $c := first $pod.containers -}}
{{- $_ := set $c "image" (include "espalier.image" $root) -}}
{{- with $root.Values.image.pullPolicy }}{{ $_ := set $c "imagePullPolicy" . }}{{ end -}}
{{- with $root.Values.image.pullSecrets -}}
{{- $names := list -}}
{{- range . }}{{ $names = append $names (dict "name" .) }}{{ end -}}
{{- $_ := set $pod "imagePullSecrets" $names -}}
{{- end -}}
{{- $_ := set $c "args" (concat $c.args .args $v.args) -}}
{{- range $c.env }}{{ if eq .name "HELPER_IMAGE" }}{{ $_ := set . "value" $c.image }}{{ end }}{{ end -}}
{{- with $v.env }}{{ $_ := set $c "env" (concat ($c.env | default list) .) }}{{ end -}}
{{- with $v.resources }}{{ $_ := set $c "resources" . }}{{ end -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- with index $v $field }}{{ $_ := set $pod $field . }}{{ end -}}
{{- end -}}
{{- $settings := include "espalier.settings" $root | sha256sum -}}
{{- $_ := set $o.spec.template.metadata "annotations" (merge (dict "checksum/settings" $settings) $v.podAnnotations) -}}
{{- with .shard -}}
{{- $_ := set $o.metadata "name" (printf "espalier-%s" .) -}}
{{- range $labels := list $o.spec.selector.matchLabels $o.spec.template.metadata.labels -}}
{{- $_ := set $labels "app.kubernetes.io/component" (printf "controller-%s" $.shard) -}}
{{- end -}}
{{- end -}}
{{- with .podLabels }}{{ $_ := set $o.spec.template.metadata "labels" (merge $o.spec.template.metadata.labels .) }}{{ end -}}
{{ include "espalier.object" (dict "root" $root "object" $o) }}
{{- end -}}

{{/* The variables in the arguments of the Deployments. */}}
{{- define "espalier.settings" -}}
CLUSTER_NAME: {{ .Values.clusterName | quote }}
PROVIDER: {{ .Values.provider | quote }}
REGION: {{ .Values.region | quote }}
{{- end -}}
