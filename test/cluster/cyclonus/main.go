// What cyclonus, an implementation of NetworkPolicy of its own, says about connections: a document on standard input, a list on standard
// output with true for each connection that it would let pass.
package main

import (
	"encoding/json"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

type end struct {
	Address string `json:"address"`
	// Absent: not a pod.
	Pod *struct {
		Namespace       string            `json:"namespace"`
		NamespaceLabels map[string]string `json:"namespaceLabels"`
		Labels          map[string]string `json:"labels"`
	} `json:"pod"`
}

type question struct {
	Policies    []*networkingv1.NetworkPolicy `json:"policies"`
	Connections []struct {
		From     end             `json:"from"`
		To       end             `json:"to"`
		Port     int             `json:"port"`
		Protocol corev1.Protocol `json:"protocol"`
	} `json:"connections"`
}

func peer(of end) *matcher.TrafficPeer {
	if of.Pod == nil {
		return &matcher.TrafficPeer{IP: of.Address}
	}
	return &matcher.TrafficPeer{IP: of.Address, Internal: &matcher.InternalPeer{
		PodLabels:       of.Pod.Labels,
		NamespaceLabels: of.Pod.NamespaceLabels,
		Namespace:       of.Pod.Namespace,
	}}
}

// The policies that select a pod, for one direction and every pod of the namespace. Selected by Kubernetes' own code: to cyclonus a pod
// without a label does not meet NotIn, which to Kubernetes it does.
func selecting(policies []*networkingv1.NetworkPolicy, of end, direction networkingv1.PolicyType) []*networkingv1.NetworkPolicy {
	if of.Pod == nil {
		return nil
	}
	var found []*networkingv1.NetworkPolicy
	for _, policy := range policies {
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil {
			panic(err)
		}
		if policy.Namespace != of.Pod.Namespace || !selector.Matches(labels.Set(of.Pod.Labels)) {
			continue
		}
		for _, each := range policy.Spec.PolicyTypes {
			if each == direction {
				one := policy.DeepCopy()
				one.Spec.PodSelector = metav1.LabelSelector{}
				one.Spec.PolicyTypes = []networkingv1.PolicyType{direction}
				found = append(found, one)
			}
		}
	}
	return found
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	verdicts := make([]bool, 0, len(asked.Connections))
	for _, each := range asked.Connections {
		applying := append(
			selecting(asked.Policies, each.From, networkingv1.PolicyTypeEgress),
			selecting(asked.Policies, each.To, networkingv1.PolicyTypeIngress)...,
		)
		policy := matcher.BuildNetworkPolicies(false, applying)
		traffic := &matcher.Traffic{
			Source: peer(each.From), Destination: peer(each.To), ResolvedPort: each.Port, Protocol: each.Protocol,
		}
		verdicts = append(verdicts, policy.IsTrafficAllowed(traffic).IsAllowed())
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		panic(err)
	}
}
