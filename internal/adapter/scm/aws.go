package scm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// publicAWS is the public address of a service in a region.
func publicAWS(service, region string) string {
	suffix := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		suffix += ".cn"
	}
	return "https://" + service + "." + region + "." + suffix
}

// awsAPI speaks to services of AWS in one region as one identity.
type awsAPI struct {
	*question
	region      string
	credentials aws.Credentials
	signer      *v4.Signer
}

// awsAPI finds out who this process is, and becomes role when one is named.
func (q *question) awsAPI(ctx context.Context, region, role string) (*awsAPI, error) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region == "" {
			region = q.environment[name]
		}
	}
	if region == "" || strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, errors.New("region is missing, or is no region: name it, or set AWS_REGION")
	}
	a := &awsAPI{question: q, region: region, signer: v4.NewSigner()}
	var err error
	if a.credentials, err = a.identity(ctx); err != nil {
		return nil, err
	}
	if role != "" {
		a.credentials, err = a.assume(ctx, url.Values{"Action": {"AssumeRole"}, "RoleArn": {role}}, true)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", role, err)
		}
	}
	return a, nil
}

// identity is who this process is: by keys, by a token of its service account
// (IRSA), or by the agent of its node (pod identity, ECS).
func (a *awsAPI) identity(ctx context.Context) (aws.Credentials, error) {
	env := a.environment
	switch {
	case env["AWS_ACCESS_KEY_ID"] != "" && env["AWS_SECRET_ACCESS_KEY"] != "":
		return aws.Credentials{AccessKeyID: env["AWS_ACCESS_KEY_ID"], SecretAccessKey: env["AWS_SECRET_ACCESS_KEY"], SessionToken: env["AWS_SESSION_TOKEN"]}, nil
	case env["AWS_WEB_IDENTITY_TOKEN_FILE"] != "" && env["AWS_ROLE_ARN"] != "":
		token, err := a.ReadFile(env["AWS_WEB_IDENTITY_TOKEN_FILE"])
		if err != nil {
			return aws.Credentials{}, errors.New("the file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read")
		}
		return a.assume(ctx, url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {env["AWS_ROLE_ARN"]}, "WebIdentityToken": {strings.TrimSpace(string(token))},
		}, false)
	case env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] != "":
		return a.agent(ctx, env["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
	case env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] != "":
		return a.agent(ctx, "http://169.254.170.2"+env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])
	}
	return aws.Credentials{}, errors.New("this process has no AWS identity: give its service account a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
}

// agent asks the agent of the node for keys.
func (a *awsAPI) agent(ctx context.Context, at string) (aws.Credentials, error) {
	token := a.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
	if file := a.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]; file != "" {
		raw, err := a.ReadFile(file)
		if err != nil {
			return aws.Credentials{}, errors.New("the file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names cannot be read")
		}
		token = strings.TrimSpace(string(raw))
	}
	var answer struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string `json:"SecretAccessKey"`
		Token           string `json:"Token"`
	}
	client := api{question: a.question, authorize: func(r *http.Request) {
		if token != "" {
			r.Header.Set("Authorization", token)
		}
	}}
	if _, err := client.get(ctx, at, nil, &answer); err != nil {
		return aws.Credentials{}, fmt.Errorf("credentials of the container: %w", err)
	}
	return aws.Credentials{AccessKeyID: answer.AccessKeyID, SecretAccessKey: answer.SecretAccessKey, SessionToken: answer.Token}, nil
}

// assume asks STS for keys of a role.
func (a *awsAPI) assume(ctx context.Context, form url.Values, signed bool) (aws.Credentials, error) {
	form.Set("Version", "2011-06-15")
	form.Set("RoleSessionName", "sluice-applicationset")
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}
	raw, err := a.send(ctx, "sts", []byte(form.Encode()), header, signed)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("sts: %w", err)
	}
	var named struct {
		Assume *xmlResult `xml:"AssumeRoleResult"`
		Web    *xmlResult `xml:"AssumeRoleWithWebIdentityResult"`
	}
	if err := xml.Unmarshal(raw, &named); err != nil {
		return aws.Credentials{}, errors.New("sts: the answer is not whole")
	}
	for _, result := range []*xmlResult{named.Assume, named.Web} {
		if result != nil && result.Credentials.AccessKeyID != "" {
			c := result.Credentials
			return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}, nil
		}
	}
	return aws.Credentials{}, errors.New("sts: the answer holds no keys")
}

type xmlResult struct {
	Credentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string `xml:"SecretAccessKey"`
		SessionToken    string `xml:"SessionToken"`
	} `xml:"Credentials"`
}

// call does one operation of a service that speaks JSON.
func (a *awsAPI) call(ctx context.Context, service, target string, input, into any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	raw, err := a.send(ctx, service, body, http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target}}, true)
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: the answer is not whole: %w", target, err)
	}
	return nil
}

// send posts a signed request and reads the whole answer.
func (a *awsAPI) send(ctx context.Context, service string, body []byte, header http.Header, signed bool) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.AWS(service, a.region)+"/", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if signed {
		sum := sha256.Sum256(body)
		if err := a.signer.SignHTTP(ctx, a.credentials, r, hex.EncodeToString(sum[:]), service, a.region, a.Clock.Now()); err != nil {
			return nil, errors.New("the request cannot be signed: check the credentials")
		}
	}
	response, err := a.http.Do(r)
	if err != nil {
		if strings.HasPrefix(awsKind(err), "Throttling") {
			return nil, &throttled{host: r.URL.Host, until: a.Clock.Now().Add(time.Minute)}
		}
		return nil, fmt.Errorf("aws: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var out bytes.Buffer
	if _, err := out.ReadFrom(response.Body); err != nil {
		return nil, fmt.Errorf("the answer is cut off: %w", err)
	}
	return out.Bytes(), nil
}

// awsKind is the kind of a refusal, such as RepositoryDoesNotExistException.
func awsKind(err error) string {
	var answer *answerError
	if !errors.As(err, &answer) {
		return ""
	}
	var said struct {
		Kind string `json:"__type"`
	}
	_ = json.Unmarshal(answer.body, &said)
	if at := strings.LastIndex(said.Kind, "#"); at >= 0 {
		said.Kind = said.Kind[at+1:]
	}
	return said.Kind
}
