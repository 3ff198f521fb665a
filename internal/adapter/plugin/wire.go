package plugin

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The methods of plugin.ConfigManagementPluginService.
const (
	service          = "/plugin.ConfigManagementPluginService/"
	methodGenerate   = service + "GenerateManifest"
	methodCheck      = service + "CheckPluginConfiguration"
	methodMatch      = service + "MatchRepository"
	methodParameters = service + "GetParametersAnnouncement"
)

// maxMessage bounds one message, and so the manifests of one plugin.
const maxMessage = 100 << 20

// message is what travels; field numbers are those of spec/wire.md §4.3.
type message interface {
	marshal() []byte
	unmarshal(raw []byte) error
}

// codec lets connect carry messages without generated code.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(m any) ([]byte, error) {
	if one, ok := m.(message); ok {
		return one.marshal(), nil
	}
	return nil, fmt.Errorf("%T is no message", m)
}

func (codec) Unmarshal(raw []byte, m any) error {
	if one, ok := m.(message); ok {
		return one.unmarshal(raw)
	}
	return fmt.Errorf("%T is no message", m)
}

// each calls f for every field of a message; bytes are nil for numbers.
func each(raw []byte, f func(number protowire.Number, bytes []byte, value uint64) error) error {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		var bytes []byte
		var value uint64
		switch kind {
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(raw)
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(raw)
		default:
			n = protowire.ConsumeFieldValue(number, kind, raw)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		if err := f(number, bytes, value); err != nil {
			return err
		}
	}
	return nil
}

func putText(b []byte, n protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), text)
}

func putMessage(b []byte, n protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), m)
}

func putBool(b []byte, n protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), 1)
}

// empty is google.protobuf.Empty.
type empty struct{}

func (*empty) marshal() []byte        { return nil }
func (*empty) unmarshal([]byte) error { return nil }

// EnvVar is one environment variable.
type EnvVar struct{ Name, Value string }

// metadata comes first in a stream.
type metadata struct {
	appName, appPath, checksum string
	size                       int64
	env                        []EnvVar
}

// chunk is a message of a stream: metadata, or a part of the archive.
type chunk struct {
	metadata *metadata
	file     []byte
	isFile   bool
}

func (c *chunk) marshal() []byte {
	if c.metadata == nil {
		return putMessage(nil, 2, putMessage(nil, 1, c.file))
	}
	m := putText(nil, 1, c.metadata.appName)
	m = putText(m, 2, c.metadata.appPath)
	m = putText(m, 3, c.metadata.checksum)
	m = protowire.AppendVarint(protowire.AppendTag(m, 4, protowire.VarintType), uint64(c.metadata.size)) //nolint:gosec // a size
	for _, e := range c.metadata.env {
		m = putMessage(m, 5, putText(putText(nil, 1, e.Name), 2, e.Value))
	}
	return putMessage(nil, 1, m)
}

func (c *chunk) unmarshal(raw []byte) error {
	*c = chunk{}
	return each(raw, func(n protowire.Number, b []byte, _ uint64) error {
		switch n {
		case 1:
			c.metadata = &metadata{}
			return c.metadata.unmarshal(b)
		case 2:
			c.isFile = true
			return each(b, func(n protowire.Number, b []byte, _ uint64) error {
				if n == 1 {
					c.file = b
				}
				return nil
			})
		}
		return nil
	})
}

func (m *metadata) unmarshal(raw []byte) error {
	return each(raw, func(n protowire.Number, b []byte, v uint64) error {
		switch n {
		case 1:
			m.appName = string(b)
		case 2:
			m.appPath = string(b)
		case 3:
			m.checksum = string(b)
		case 4:
			m.size = int64(v) //nolint:gosec // a size, not used to allocate
		case 5:
			var e EnvVar
			err := each(b, func(n protowire.Number, b []byte, _ uint64) error {
				switch n {
				case 1:
					e.Name = string(b)
				case 2:
					e.Value = string(b)
				}
				return nil
			})
			m.env = append(m.env, e)
			return err
		}
		return nil
	})
}

// manifests is ManifestResponse.
type manifests struct{ documents []string }

func (m *manifests) marshal() (b []byte) {
	for _, d := range m.documents {
		b = putMessage(b, 1, []byte(d))
	}
	return b
}

func (m *manifests) unmarshal(raw []byte) error {
	return each(raw, func(n protowire.Number, b []byte, _ uint64) error {
		if n == 1 {
			m.documents = append(m.documents, string(b))
		}
		return nil
	})
}

// flags is RepositoryResponse and CheckPluginConfigurationResponse: two
// booleans each.
type flags struct{ first, second bool }

func (f *flags) marshal() []byte { return putBool(putBool(nil, 1, f.first), 2, f.second) }

func (f *flags) unmarshal(raw []byte) error {
	return each(raw, func(n protowire.Number, _ []byte, v uint64) error {
		switch n {
		case 1:
			f.first = v != 0
		case 2:
			f.second = v != 0
		}
		return nil
	})
}

// Parameter is an announced parameter of a plugin (spec/wire.md §4.7).
type Parameter struct {
	Name           string            `json:"name,omitempty"`
	Title          string            `json:"title,omitempty"`
	Tooltip        string            `json:"tooltip,omitempty"`
	Required       bool              `json:"required,omitempty"`
	ItemType       string            `json:"itemType,omitempty"`
	CollectionType string            `json:"collectionType,omitempty"`
	String         string            `json:"string,omitempty"`
	Array          []string          `json:"array,omitempty"`
	Map            map[string]string `json:"map,omitempty"`
}

// announcement is ParametersAnnouncementResponse.
type announcement struct{ parameters []Parameter }

func (a *announcement) marshal() (b []byte) {
	for _, p := range a.parameters {
		m := putText(nil, 1, p.Name)
		m = putText(m, 2, p.Title)
		m = putText(m, 3, p.Tooltip)
		m = putBool(m, 4, p.Required)
		m = putText(m, 5, p.ItemType)
		m = putText(m, 6, p.CollectionType)
		m = putText(m, 7, p.String)
		for _, x := range p.Array {
			m = putMessage(m, 8, []byte(x))
		}
		for k, v := range p.Map {
			m = putMessage(m, 9, putText(putText(nil, 1, k), 2, v))
		}
		b = putMessage(b, 1, m)
	}
	return b
}

func (a *announcement) unmarshal(raw []byte) error {
	return each(raw, func(n protowire.Number, b []byte, _ uint64) error {
		if n != 1 {
			return nil
		}
		var p Parameter
		err := each(b, p.field)
		a.parameters = append(a.parameters, p)
		return err
	})
}

func (p *Parameter) field(n protowire.Number, b []byte, v uint64) error {
	switch n {
	case 1:
		p.Name = string(b)
	case 2:
		p.Title = string(b)
	case 3:
		p.Tooltip = string(b)
	case 4:
		p.Required = v != 0
	case 5:
		p.ItemType = string(b)
	case 6:
		p.CollectionType = string(b)
	case 7:
		p.String = string(b)
	case 8:
		p.Array = append(p.Array, string(b))
	case 9:
		if p.Map == nil {
			p.Map = map[string]string{}
		}
		var key, value string
		if err := each(b, func(n protowire.Number, b []byte, _ uint64) error {
			if n == 1 {
				key = string(b)
			} else {
				value = string(b)
			}
			return nil
		}); err != nil {
			return err
		}
		p.Map[key] = value
	}
	return nil
}

var errStream = errors.New("the stream does not begin with metadata")
