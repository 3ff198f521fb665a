package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The services beside that of plugins (spec/wire.md §4.1).
const (
	pluginService  = "plugin.ConfigManagementPluginService"
	versionService = "version.VersionService"
	methodVersion  = "/" + versionService + "/Version"
)

// standard adds health, version and reflection to a server: what tools for
// gRPC and probes ask for.
func (s *Server) standard(mux *http.ServeMux, o []connect.HandlerOption) error {
	files, err := descriptions()
	if err != nil {
		return fmt.Errorf("description of the service: %w", err)
	}
	names := []string{pluginService, versionService, grpchealth.HealthV1ServiceName}
	mux.Handle(grpchealth.NewHandler(grpchealth.NewStaticChecker(names...)))
	reflector := grpcreflect.NewReflector(grpcreflect.NamerFunc(func() []string { return names }), grpcreflect.WithDescriptorResolver(files))
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	mux.Handle(methodVersion, connect.NewUnaryHandler(methodVersion, func(context.Context, *connect.Request[empty]) (*connect.Response[versions], error) {
		return connect.NewResponse(&versions{s.Version}), nil
	}, o...))
	return nil
}

// versions is version.VersionMessage.
type versions struct{ version string }

func (v *versions) marshal() []byte {
	b := putText(nil, 1, v.version)
	b = putText(b, 6, runtime.Version())
	b = putText(b, 7, runtime.Compiler)
	return putText(b, 8, runtime.GOOS+"/"+runtime.GOARCH)
}

func (*versions) unmarshal([]byte) error { return errors.New("nobody asks for it here") }

// resolver looks into our own files, then into those of the libraries.
type resolver struct{ own *protoregistry.Files }

var _ protodesc.Resolver = resolver{}

func (r resolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if found, err := r.own.FindFileByPath(path); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (r resolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if found, err := r.own.FindDescriptorByName(name); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// shape is a message as the reflection service describes it: its fields by
// number, with their types; a leading [] repeats, a leading | is one of several.
type shape map[int32][2]string

// shapes are the messages of spec/wire.md §4.3, by package and name.
var shapes = map[string]map[string]shape{
	"repository": {
		"ParameterAnnouncement": {
			1: {"name", "string"}, 2: {"title", "string"}, 3: {"tooltip", "string"}, 4: {"required", "bool"}, 5: {"itemType", "string"}, 6: {"collectionType", "string"},
			7: {"string", "string"}, 8: {"array", "[]string"}, 9: {"map", "[].repository.StringMap"},
		},
		"StringMap": {1: {"key", "string"}, 2: {"value", "string"}},
	},
	"plugin": {
		"AppStreamRequest":                 {1: {"metadata", "|.plugin.ManifestRequestMetadata"}, 2: {"file", "|.plugin.File"}},
		"ManifestRequestMetadata":          {1: {"appName", "string"}, 2: {"appRelPath", "string"}, 3: {"checksum", "string"}, 4: {"size", "int64"}, 5: {"env", "[].plugin.EnvEntry"}},
		"EnvEntry":                         {1: {"name", "string"}, 2: {"value", "string"}},
		"File":                             {1: {"chunk", "bytes"}},
		"ManifestResponse":                 {1: {"manifests", "[]string"}, 2: {"sourceType", "string"}},
		"RepositoryResponse":               {1: {"isSupported", "bool"}, 2: {"isDiscoveryEnabled", "bool"}},
		"CheckPluginConfigurationResponse": {1: {"isDiscoveryConfigured", "bool"}, 2: {"provideGitCreds", "bool"}},
		"ParametersAnnouncementResponse":   {1: {"parameterAnnouncements", "[].repository.ParameterAnnouncement"}},
	},
	"version": {
		"VersionMessage": {1: {"Version", "string"}, 6: {"GoVersion", "string"}, 7: {"Compiler", "string"}, 8: {"Platform", "string"}},
	},
}

var kinds = map[string]descriptorpb.FieldDescriptorProto_Type{
	"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	"int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
}

func (s shape) message(name string) *descriptorpb.DescriptorProto {
	m := &descriptorpb.DescriptorProto{Name: &name}
	for _, number := range slices.Sorted(maps.Keys(s)) {
		label, kind := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, s[number][1]
		f := &descriptorpb.FieldDescriptorProto{Name: proto.String(s[number][0]), Number: proto.Int32(number)}
		if rest, repeated := strings.CutPrefix(kind, "[]"); repeated {
			label, kind = descriptorpb.FieldDescriptorProto_LABEL_REPEATED, rest
		}
		if rest, oneof := strings.CutPrefix(kind, "|"); oneof {
			kind, f.OneofIndex = rest, proto.Int32(0)
			m.OneofDecl = []*descriptorpb.OneofDescriptorProto{{Name: proto.String("request")}}
		}
		f.Label = &label
		if t, scalar := kinds[kind]; scalar {
			f.Type = &t
		} else {
			f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), &kind
		}
		m.Field = append(m.Field, f)
	}
	return m
}

// describeService lists methods: name, input, output; inputs of ours are streams.
func describeService(name string, methods ...[3]string) *descriptorpb.ServiceDescriptorProto {
	s := &descriptorpb.ServiceDescriptorProto{Name: &name}
	for _, m := range methods {
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name: &m[0], InputType: &m[1], OutputType: &m[2], ClientStreaming: proto.Bool(strings.HasSuffix(m[1], "StreamRequest")),
		})
	}
	return s
}

// descriptions are what reflection tells of our services.
func descriptions() (protodesc.Resolver, error) {
	const nothing = ".google.protobuf.Empty"
	services := map[string]*descriptorpb.ServiceDescriptorProto{
		"plugin": describeService("ConfigManagementPluginService",
			[3]string{"GenerateManifest", ".plugin.AppStreamRequest", ".plugin.ManifestResponse"},
			[3]string{"CheckPluginConfiguration", nothing, ".plugin.CheckPluginConfigurationResponse"},
			[3]string{"MatchRepository", ".plugin.AppStreamRequest", ".plugin.RepositoryResponse"},
			[3]string{"GetParametersAnnouncement", ".plugin.AppStreamRequest", ".plugin.ParametersAnnouncementResponse"}),
		"version": describeService("VersionService", [3]string{"Version", nothing, ".version.VersionMessage"}),
	}
	found := resolver{&protoregistry.Files{}}
	for _, name := range []string{"repository", "plugin", "version"} {
		file := &descriptorpb.FileDescriptorProto{
			Name: proto.String("sluice/" + name + ".proto"), Package: proto.String(name), Syntax: proto.String("proto3"),
		}
		for _, message := range slices.Sorted(maps.Keys(shapes[name])) {
			file.MessageType = append(file.MessageType, shapes[name][message].message(message))
		}
		if s := services[name]; s != nil {
			file.Service, file.Dependency = []*descriptorpb.ServiceDescriptorProto{s}, []string{emptypb.File_google_protobuf_empty_proto.Path()}
		}
		if name == "plugin" {
			file.Dependency = append(file.Dependency, "sluice/repository.proto")
		}
		made, err := protodesc.NewFile(file, found)
		if err != nil {
			return nil, err
		}
		if err := found.own.RegisterFile(made); err != nil {
			return nil, err
		}
	}
	return found, nil
}
