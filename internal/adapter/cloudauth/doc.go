// Package cloudauth gets tokens for the managed Kubernetes of clouds, as the
// program argocd-k8s-auth does that cluster Secrets name (spec/config.md
// §6.1):
//
//	AWS    a request to STS that is signed and not sent: EKS sends it
//	GCP    an access token of the application default credentials
//	Azure  an access token for AKS: workload identity, service principal
//	       (secret or certificate), managed identity, user and password
//	   └─► Token ─► Credential: what a client of Kubernetes reads
//
// Nothing is asked of a person, nothing is kept on disk, and no error holds a
// secret.
package cloudauth
