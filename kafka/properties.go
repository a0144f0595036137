package kafka

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// propertiesTable is every property of an Apache Kafka 4.1 broker, topic, group and client-metrics subscription: kind,
// name, type, default, how it may be changed, which values it takes, whether it is internal, and what it means in a line.
//
//go:embed properties.tsv
var propertiesTable string

// configType is the type of a property, with the protocol's numbers (DescribeConfigs).
type configType int8

const (
	typeBoolean  configType = 1
	typeString   configType = 2
	typeInt      configType = 3
	typeShort    configType = 4
	typeLong     configType = 5
	typeDouble   configType = 6
	typeList     configType = 7
	typeClass    configType = 8
	typePassword configType = 9
)

var configTypes = map[string]configType{
	"BOOLEAN": typeBoolean, "STRING": typeString, "INT": typeInt, "SHORT": typeShort, "LONG": typeLong,
	"DOUBLE": typeDouble, "LIST": typeList, "CLASS": typeClass, "PASSWORD": typePassword,
}

// updateMode says how a property of a broker may be changed while it runs (KIP-226).
type updateMode uint8

const (
	readOnly    updateMode = iota // only by a restart
	perBroker                     // for one broker
	clusterWide                   // for one broker, or as the default of all
)

// property is one entry of the registry.
type property struct {
	name   string
	typ    configType
	value  *string // the default; nil: null
	mode   updateMode
	hidden bool // internal: accepted, and never described
	doc    string

	// What a value may be. A list is checked item by item.
	min, max float64
	words    []string
	anyCase  bool     // words regardless of case
	also     *float64 // a number that is allowed although it is out of [min, max]
	nonEmpty bool
	matches  func(value string) bool // any other rule; said by want
	want     string
}

// sensitive reports whether the value is never told.
func (p *property) sensitive() bool { return p.typ == typePassword }

// registry holds the properties of one kind of resource.
type registry struct {
	byName map[string]*property
	names  []string // sorted
}

// registries are the properties by kind. The table is read once, at the first use.
var registries = sync.OnceValue(func() map[string]*registry {
	kinds := map[string]*registry{}
	lines := strings.Split(strings.TrimSuffix(propertiesTable, "\n"), "\n")
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 8 {
			panic("BUG: properties.tsv: " + line)
		}
		r := kinds[f[0]]
		if r == nil {
			r = &registry{byName: map[string]*property{}}
			kinds[f[0]] = r
		}
		p := &property{name: f[1], typ: configTypes[f[2]], hidden: f[6] != "", doc: f[7], min: math.Inf(-1), max: math.Inf(1)}
		if f[3] != "<null>" && f[3] != "<none>" {
			p.value = &f[3]
		}
		switch f[4] {
		case "cluster-wide", "dynamic":
			p.mode = clusterWide
		case "per-broker":
			p.mode = perBroker
		}
		p.allow(f[5])
		r.byName[p.name] = p
		r.names = append(r.names, p.name)
	}
	for _, r := range kinds {
		slices.Sort(r.names)
	}
	return kinds
})

func brokerProperties() *registry        { return registries()["broker"] }
func topicProperties() *registry         { return registries()["topic"] }
func groupProperties() *registry         { return registries()["group"] }
func clientMetricsProperties() *registry { return registries()["client-metrics"] }

// allow reads Kafka's way to write down what a value may be.
func (p *property) allow(values string) {
	if rest, ok := strings.CutPrefix(values, "(case insensitive) "); ok {
		p.anyCase, values = true, rest
	}
	switch {
	case values == "" || values == "non-null string" || values == "non-empty list": // "non-empty" speaks of the items
		return
	case values == "non-empty string":
		p.nonEmpty = true
		return
	case strings.HasPrefix(values, "[partitionId]"):
		p.matches, p.want = throttledReplicas, "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
		return
	case strings.Contains(values, "by_duration"):
		p.matches, p.want = shareReset, "latest, earliest or by_duration:PnDTnHnMn.nS"
		return
	case values == "[1,...,9] or -1":
		also := -1.0
		p.also, values = &also, "[1,...,9]"
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(values, "["), "]")
	from, to, isRange := strings.Cut(inner, ",...")
	if !isRange {
		p.words = strings.Split(inner, ", ")
		return
	}
	p.min, _ = strconv.ParseFloat(from, 64)
	if to != "" {
		p.max, _ = strconv.ParseFloat(strings.TrimPrefix(to, ","), 64)
	}
}

// PropertyError says that the value of a property is not allowed, in the words of an Apache Kafka broker.
type PropertyError struct {
	Name, Value string
	Reason      string
}

// Error is Kafka's text: "Invalid value VALUE for configuration NAME: REASON".
func (e *PropertyError) Error() string {
	s := "Invalid value " + e.Value + " for configuration " + e.Name
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// check returns a *PropertyError if v is not a value of p. Kafka trims what it parses, and so does this.
func (p *property) check(v string) error {
	v = strings.TrimSpace(v)
	bad := func(format string, args ...any) error {
		return &PropertyError{Name: p.name, Value: v, Reason: fmt.Sprintf(format, args...)}
	}
	switch p.typ {
	case typeBoolean:
		if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			return bad("Expected value to be either true or false")
		}
	case typeInt, typeShort, typeLong:
		bits := map[configType]int{typeInt: 32, typeShort: 16, typeLong: 64}[p.typ]
		n, err := strconv.ParseInt(v, 10, bits)
		if err != nil {
			return bad("Not a number of type %s", p.typ)
		}
		return p.checkRange(v, float64(n))
	case typeDouble:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return bad("Not a number of type %s", p.typ)
		}
		return p.checkRange(v, n)
	case typeList:
		if p.matches != nil {
			if !p.matches(v) {
				return &PropertyError{Name: p.name, Value: "[" + strings.Join(splitList(v), ", ") + "]", Reason: p.name +
					" must be the literal '*' or a list of replicas in the following format: " + p.want}
			}
			return nil
		}
		for _, item := range splitList(v) {
			if p.words != nil && !slices.Contains(p.words, item) {
				return &PropertyError{Name: p.name, Value: item, Reason: "String must be one of: " + strings.Join(p.words, ", ")}
			}
		}
	default:
		switch {
		case p.nonEmpty && v == "":
			return bad("String must be non-empty")
		case p.matches != nil && !p.matches(v):
			return bad("must be %s", p.want)
		case p.anyCase && !slices.ContainsFunc(p.words, func(w string) bool { return strings.EqualFold(w, v) }):
			return bad("String must be one of (case insensitive): %s", strings.Join(p.words, ", "))
		case !p.anyCase && p.words != nil && !slices.Contains(p.words, v):
			return bad("String must be one of: %s", strings.Join(p.words, ", "))
		}
	}
	return nil
}

func (p *property) checkRange(text string, n float64) error {
	if p.also != nil {
		if n == *p.also || n >= p.min && n <= p.max {
			return nil
		}
		return &PropertyError{Name: p.name, Value: text, Reason: fmt.Sprintf("Value must be between %v and %v or equal to %v", p.min, p.max, *p.also)}
	}
	if n < p.min {
		return &PropertyError{Name: p.name, Value: text, Reason: fmt.Sprintf("Value must be at least %s", formatBound(p.min))}
	}
	if n > p.max {
		return &PropertyError{Name: p.name, Value: text, Reason: fmt.Sprintf("Value must be no more than %s", formatBound(p.max))}
	}
	return nil
}

func formatBound(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// String returns Kafka's name of the type.
func (t configType) String() string {
	for name, x := range configTypes {
		if x == t {
			return name
		}
	}
	return "UNKNOWN"
}

// splitList splits a property of type list: by commas, items trimmed; nothing gives no items.
func splitList(v string) []string {
	if strings.TrimSpace(v) == "" {
		return nil
	}
	items := strings.Split(v, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// throttledReplicas is the rule of leader.replication.throttled.replicas: nothing, * or partition:broker pairs.
func throttledReplicas(v string) bool {
	items := splitList(v)
	if len(items) == 1 && items[0] == "*" {
		return true
	}
	for _, item := range items {
		p, b, ok := strings.Cut(item, ":")
		if !ok || !digits(p) || !digits(b) {
			return false
		}
	}
	return true
}

// shareReset is the rule of share.auto.offset.reset (KIP-932).
func shareReset(v string) bool {
	if strings.EqualFold(v, "latest") || strings.EqualFold(v, "earliest") {
		return true
	}
	d, ok := strings.CutPrefix(strings.ToLower(v), "by_duration:p")
	return ok && d != "" && strings.Trim(d, "0123456789dthms.") == "" && strings.ContainsAny(d, "0123456789")
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
