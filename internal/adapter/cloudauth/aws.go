package cloudauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// EKS says who wants a token for which cluster.
type EKS struct {
	// Cluster is the name of the cluster in EKS, or its id.
	Cluster string
	// RoleARN is a role to take first; empty is the identity as it is.
	RoleARN string
	// Profile of the shared configuration files; empty is the default one.
	Profile string
}

const (
	eksPrefix = "k8s-aws-v1."
	eksHeader = "x-k8s-aws-id"
	// eksLife is how long EKS accepts a signed request, less a minute.
	eksLife = 14 * time.Minute
	// eksSession names the sessions of roles that are taken.
	eksSession = "sluice"
)

// AWS signs the question "who am I" for the cluster; EKS puts it to STS and
// thereby learns who its bearer is. Credentials come from where the SDK of AWS
// looks: variables, shared files, web identity of a service account, pod
// identity, the instance.
func AWS(ctx context.Context, e EKS, now time.Time) (Token, error) {
	if e.Cluster == "" {
		return Token{}, errors.New("aws: the name of the cluster is missing: give --cluster-name, or clusterName in awsAuthConfig")
	}
	var options []func(*config.LoadOptions) error
	if e.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(e.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return Token{}, fmt.Errorf("aws: configuration: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = partitionRegion(e.RoleARN)
	}
	if e.RoleARN != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), e.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = eksSession
		}))
	}
	signer := sts.NewPresignClient(sts.NewFromConfig(cfg))
	signed, err := signer.PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(eksHeader, e.Cluster), smithyhttp.SetHeaderValue("X-Amz-Expires", "60"))
		})
	})
	if err != nil {
		return Token{}, fmt.Errorf("aws: no identity to sign with: %w", err)
	}
	return Token{Value: eksPrefix + base64.RawURLEncoding.EncodeToString([]byte(signed.URL)), Expires: now.Add(eksLife)}, nil
}

// partitionRegion is where to ask when nothing names a region: EKS accepts
// what is signed for any region of its partition.
func partitionRegion(role string) string {
	switch {
	case strings.HasPrefix(role, "arn:aws-cn:"):
		return "cn-north-1"
	case strings.HasPrefix(role, "arn:aws-us-gov:"):
		return "us-gov-west-1"
	}
	return "us-east-1"
}
