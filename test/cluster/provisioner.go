// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	// StorageClass is the default class of the local cluster.
	StorageClass = "standard"

	provisionerName       = "cluster.espalier.dev/folder"
	annotationProvisioned = "pv.kubernetes.io/provisioned-by"
	annotationDefault     = "storageclass.kubernetes.io/is-default-class"
	// provisionRetry is how often claims that are still pending are looked at
	// again, which is also the retry after an error.
	provisionRetry = 5 * time.Second
)

// provisioner binds the pending claims of its class to volumes that are folders
// of this machine, and removes a volume and its folder after its claim.
type provisioner struct {
	client clientset.Interface
	folder string
}

// startProvisioner makes the default storage class and works until work ends.
func startProvisioner(ctx, work context.Context, cfg *rest.Config, folder string) error {
	client, err := clientset.NewForConfig(cfg)
	if err != nil {
		return err
	}
	policy, binding := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
	_, err = client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: StorageClass, Annotations: map[string]string{annotationDefault: "true"}},
		Provisioner:       provisionerName,
		ReclaimPolicy:     &policy,
		VolumeBindingMode: &binding,
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	p := &provisioner{client: client, folder: folder}
	factory := informers.NewSharedInformerFactory(client, provisionRetry)
	err = handle(factory.Core().V1().PersistentVolumeClaims().Informer(), func(o any) error {
		return p.provision(work, o.(*corev1.PersistentVolumeClaim))
	})
	if err != nil {
		return err
	}
	err = handle(factory.Core().V1().PersistentVolumes().Informer(), func(o any) error {
		return p.release(work, o.(*corev1.PersistentVolume))
	})
	if err != nil {
		return err
	}
	factory.Start(work.Done())
	return nil
}

// handle calls do for every object that is there, new, changed, or looked at again.
func handle(informer cache.SharedIndexInformer, do func(any) error) error {
	call := func(o any) { utilruntime.HandleError(do(o)) }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    call,
		UpdateFunc: func(_, o any) { call(o) },
	})
	return err
}

// provision makes the volume of a pending claim. Its name is the claim's UID,
// so that a second try makes no second volume; the controllers do the binding.
func (p *provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	class := claim.Spec.StorageClassName
	if claim.Status.Phase != corev1.ClaimPending || claim.Spec.VolumeName != "" || class == nil || *class != StorageClass {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	kind := corev1.HostPathDirectoryOrCreate
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annotationProvisioned: provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              StorageClass,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(p.folder, name), Type: &kind},
			},
		},
	}, metav1.CreateOptions{})
	return unless(err, apierrors.IsAlreadyExists)
}

// release removes a volume whose claim is gone, and its folder.
func (p *provisioner) release(ctx context.Context, volume *corev1.PersistentVolume) error {
	ours := volume.Annotations[annotationProvisioned] == provisionerName
	if !ours || volume.Status.Phase != corev1.VolumeReleased {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(p.folder, volume.Name)); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	return unless(err, apierrors.IsNotFound)
}

// unless passes an error on but for the expected one, and the end of the cluster.
func unless(err error, expected func(error) bool) error {
	if expected(err) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
