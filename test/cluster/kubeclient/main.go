// A controller of sorts in Go, as controllers are written: client-go with protobuf bodies, informers, leader-less. It says in one line of JSON
// what it saw, so that a test can compare.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

type result struct {
	Version   string   `json:"version"`
	Created   bool     `json:"created"`
	Patched   string   `json:"patched"`
	Pages     int      `json:"pages"`
	Listed    int      `json:"listed"`
	Seen      []string `json:"seen"`
	Forbidden bool     `json:"forbidden"`
	Reason    string   `json:"reason"`
	Causes    []string `json:"causes"`
	Deleted   bool     `json:"deleted"`
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	must(err)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	must(err)
	var out result
	version, err := client.Discovery().ServerVersion()
	must(err)
	out.Version = version.GitVersion
	maps := client.CoreV1().ConfigMaps("default")

	seen := make(chan string, 64)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace("default"))
	informer := factory.Core().V1().ConfigMaps().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { seen <- "add " + object.(*corev1.ConfigMap).Name },
		DeleteFunc: func(object any) { seen <- "delete go-0" },
	})
	must(err)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	for i := range 3 {
		name := fmt.Sprintf("go-%d", i)
		_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{})
		must(err)
	}
	out.Created = true
	patched, err := maps.Patch(ctx, "go-0", types.StrategicMergePatchType, []byte(`{"data":{"a":"c"}}`), metav1.PatchOptions{})
	must(err)
	out.Patched = patched.Data["a"]
	token := ""
	for {
		page, err := maps.List(ctx, metav1.ListOptions{Limit: 2, Continue: token})
		must(err)
		out.Pages++
		out.Listed += len(page.Items)
		token = page.Continue
		if token == "" {
			break
		}
	}
	_, err = client.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
	out.Forbidden = apierrors.IsForbidden(err)
	if status, ok := err.(apierrors.APIStatus); ok {
		out.Reason = string(status.Status().Reason)
		for _, cause := range status.Status().Details.Causes {
			out.Causes = append(out.Causes, string(cause.Type))
		}
	}
	for i := range 3 {
		must(maps.Delete(ctx, fmt.Sprintf("go-%d", i), metav1.DeleteOptions{}))
	}
	out.Deleted = true
	for len(out.Seen) == 0 || out.Seen[len(out.Seen)-1] != "delete go-0" {
		select {
		case event := <-seen:
			out.Seen = append(out.Seen, event)
		case <-ctx.Done():
			must(ctx.Err())
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(out))
}
