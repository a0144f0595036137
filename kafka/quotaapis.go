package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/partlog/partlog/partition"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The ways in which a component of DescribeClientQuotas matches.
const (
	matchExact   = 0 // this name
	matchDefault = 1 // the default
	matchAny     = 2 // any name, and the default
)

// quotaFilter selects entities.
type quotaFilter struct {
	exact  quotaEntity // what these parts have to be
	any    quotaEntity // parts that have to be there
	strict bool        // and no others
}

func (f *quotaFilter) matches(e quotaEntity) bool {
	for _, typ := range entityTypes {
		has, want, there := e.part(typ), f.exact.part(typ), f.any.part(typ)
		switch {
		case want.set && *has != *want, there.set && !has.set, f.strict && has.set && !want.set && !there.set:
			return false
		}
	}
	// As in Kafka, a strict filter without components selects nothing, which no entity is.
	return true
}

func handleDescribeClientQuotas(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	f, err := quotaFilterOf(req)
	if !s.authorizeCluster(opDescribeConfigs) {
		err = &protocolError{codeClusterAuthorizationFailed, textClusterDenied}
	}
	var t *quotaTable
	if err == nil {
		t, err = s.server.guard.limits.get(s.server.guard.store)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerOf(err)
		return resp, nil // with null entries
	}
	resp.ErrorMessage = new(string) // as Kafka: empty, not null
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	entities := slices.SortedFunc(maps.Keys(t.entities), func(a, b quotaEntity) int { return strings.Compare(a.String(), b.String()) })
	for _, e := range entities {
		if !f.matches(e) {
			continue
		}
		r := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, typ := range entityTypes {
			if n := e.part(typ); n.set {
				p := kmsg.NewDescribeClientQuotasResponseEntryEntity()
				p.Type = typ
				if !n.all {
					p.Name = &n.name
				}
				r.Entity = append(r.Entity, p)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(t.entities[e])) {
			v := kmsg.NewDescribeClientQuotasResponseEntryValue()
			v.Key, v.Value = key, t.entities[e][key]
			r.Values = append(r.Values, v)
		}
		resp.Entries = append(resp.Entries, r)
	}
	return resp, nil
}

func quotaFilterOf(req *kmsg.DescribeClientQuotasRequest) (f quotaFilter, err error) {
	bad := func(text string) (quotaFilter, error) { return f, &protocolError{codeInvalidRequest, text} }
	f.strict = req.Strict
	for _, q := range req.Components {
		if q.EntityType == "" {
			return bad("Invalid empty entity type.")
		}
		exact, there := f.exact.part(q.EntityType), f.any.part(q.EntityType)
		if exact == nil {
			return f, &protocolError{codeUnsupportedVersion, "Unsupported entity type " + q.EntityType}
		}
		if exact.set || there.set {
			return bad("Entity type " + q.EntityType + " cannot appear more than once in the filter.")
		}
		switch q.MatchType {
		case matchExact:
			if q.Match == nil {
				return bad("Request specified MATCH_TYPE_EXACT, but set match string to null.")
			}
			*exact = named(*q.Match)
		case matchDefault:
			if q.Match != nil {
				return bad("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
			}
			*exact = defaultName
		case matchAny:
			if q.Match != nil {
				return bad("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
			}
			*there = quotaName{set: true}
		default:
			return bad("Unknown match type " + strconv.Itoa(int(q.MatchType)))
		}
	}
	ip := f.exact.ip.set || f.any.ip.set
	if ip && len(req.Components) > 1 {
		return bad("Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return f, nil
}

func handleAlterClientQuotas(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AlterClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	results := make([]error, len(req.Entries))
	for i := range req.Entries {
		req.Entries[i].Entity = lastOfEachType(req.Entries[i].Entity)
	}
	if !s.authorizeCluster(opAlterConfigs) {
		for i := range results {
			results[i] = &protocolError{codeClusterAuthorizationFailed, textClusterDenied}
		}
	} else if err := s.server.guard.alterQuotas(c, req, results); err != nil {
		for i := range results {
			if results[i] == nil {
				results[i] = err
			}
		}
	}
	place := map[string]int{}
	for i, q := range req.Entries {
		r := kmsg.NewAlterClientQuotasResponseEntry()
		r.ErrorCode, r.ErrorMessage = answerOf(results[i])
		name := ""
		for _, p := range q.Entity {
			part := kmsg.NewAlterClientQuotasResponseEntryEntity()
			part.Type, part.Name = p.Type, p.Name
			r.Entity = append(r.Entity, part)
			name += fmt.Sprintf("%q=", p.Type)
			if p.Name != nil {
				name += strconv.Quote(*p.Name)
			}
		}
		if at, again := place[name]; again { // one answer for each entity: the last
			resp.Entries[at] = r
			continue
		}
		place[name] = len(resp.Entries)
		resp.Entries = append(resp.Entries, r)
	}
	return resp, nil
}

// lastOfEachType returns the parts of an entity by type, each type once: of several, Kafka takes the last.
func lastOfEachType(parts []kmsg.AlterClientQuotasRequestEntryEntity) (out []kmsg.AlterClientQuotasRequestEntryEntity) {
	for _, p := range parts {
		if i := slices.IndexFunc(out, func(o kmsg.AlterClientQuotasRequestEntryEntity) bool { return o.Type == p.Type }); i >= 0 {
			out[i] = p
		} else {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b kmsg.AlterClientQuotasRequestEntryEntity) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// alterQuotas makes the valid ones of a request's changes, all or none; of each entity all or none are valid. results gets
// what is wrong with the others. Of two changes of one entity the first is made, and the second refused.
func (g *guard) alterQuotas(c *call, req *kmsg.AlterClientQuotasRequest, results []error) error {
	g.alter.Lock()
	defer g.alter.Unlock()
	t, err := g.limits.get(g.store)
	if err != nil {
		return err
	}
	changed := map[quotaEntity]bool{}
	var changes []partition.Setting
	for i := range req.Entries {
		e, values, err := t.altered(&req.Entries[i])
		if err == nil && changed[e] {
			err = ignoredEntity(e)
		}
		if results[i] = err; err != nil {
			continue
		}
		changed[e] = true
		if maps.Equal(values, t.entities[e]) {
			continue
		}
		change := partition.Setting{Key: e.key()}
		if len(values) > 0 {
			change.Value = e.encode(values)
		}
		changes = append(changes, change)
	}
	if req.ValidateOnly {
		return nil
	}
	return g.put(c, changes)
}

func ignoredEntity(e quotaEntity) error {
	return &protocolError{codeInvalidRequest, "Ignoring duplicate entity " + e.String()}
}

// key is the name of an entity's setting: names of clients may be longer than that of a setting.
func (e quotaEntity) key() string {
	digest := sha256.Sum256(e.encode(nil))
	return quotaArea + hex.EncodeToString(digest[:])
}

// altered returns an entity and what its quotas are after a change.
func (t *quotaTable) altered(q *kmsg.AlterClientQuotasRequestEntry) (e quotaEntity, values map[string]float64, err error) {
	bad := func(text string) (quotaEntity, map[string]float64, error) {
		return e, nil, &protocolError{codeInvalidRequest, text}
	}
	if len(q.Entity) == 0 {
		return bad("Invalid empty client quota entity")
	}
	for _, p := range q.Entity {
		part := e.part(p.Type)
		switch {
		case part == nil:
			return bad("Unhandled client quota entity type: " + p.Type)
		case p.Name == nil:
			*part = defaultName
		case *p.Name == "":
			return bad("Empty " + p.Type + " not supported")
		default:
			*part = named(*p.Name)
		}
	}
	kinds := quotaKeys[:quotaUserKinds]
	if e.ip.set {
		if e.parts() > 1 {
			return bad("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
		}
		if ip, err := netip.ParseAddr(e.ip.name); err == nil {
			e.ip.name = ip.Unmap().String() // as the addresses of connections are written
		} else if !e.ip.all {
			return bad(e.ip.name + " is not a valid IP or resolvable host.")
		}
		kinds = quotaKeys[quotaConnect:]
	}
	values = maps.Clone(t.entities[e])
	if values == nil {
		values = map[string]float64{}
	}
	seen := map[string]bool{}
	for _, op := range q.Ops {
		if seen[op.Key] {
			return e, nil, ignoredEntity(e) // that is what Kafka says of a key that is there twice
		}
		seen[op.Key] = true
		if op.Remove {
			delete(values, op.Key)
			continue
		}
		if !slices.Contains(kinds, op.Key) {
			return bad("Invalid configuration key " + op.Key)
		}
		if text := badQuota(op.Key, op.Value); text != "" {
			return bad(text)
		}
		values[op.Key] = op.Value
	}
	return e, values, nil
}

// badQuota says what is wrong with a value, if anything.
func badQuota(key string, v float64) string {
	most, typ := math.MaxFloat64, "DOUBLE"
	switch key {
	case quotaKeys[quotaProduce], quotaKeys[quotaConsume]:
		most, typ = math.MaxInt64, "LONG"
	case quotaKeys[quotaConnect]:
		most, typ = math.MaxInt32, "INT"
	}
	switch {
	case !(v > 0): // nor if it is no number
		return "Quota " + key + " must be greater than 0"
	case v > most:
		article := "a "
		if typ == "INT" {
			article = "an "
		}
		return "Proposed value for " + key + " is too large for " + article + typ + "."
	case typ != "DOUBLE" && math.Abs(math.Round(v)-v) > 1e-6:
		return key + " cannot be a fractional value."
	}
	return ""
}
