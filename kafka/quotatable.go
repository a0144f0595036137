package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/partlog/partlog/partition"
)

// quotaKind is what a quota limits.
type quotaKind uint8

const (
	quotaProduce   quotaKind = iota // producer_byte_rate
	quotaConsume                    // consumer_byte_rate
	quotaRequest                    // request_percentage: of one thread
	quotaMutation                   // controller_mutation_rate: partitions made and deleted
	quotaConnect                    // connection_creation_rate
	quotaKinds     = 5
	quotaUserKinds = 4 // those of users and client ids; the last is of addresses
)

// quotaKeys are Kafka's names of the kinds.
var quotaKeys = [quotaKinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}

// quotaName is one part of an entity.
type quotaName struct {
	set  bool   // the entity has this part
	all  bool   // the default: all names that have no quota of their own
	name string // otherwise
}

func named(name string) quotaName { return quotaName{set: true, name: name} }

var defaultName = quotaName{set: true, all: true}

// quotaEntity is whom a quota is for: a user, a client id, both, or an address.
type quotaEntity struct{ user, client, ip quotaName }

// The types of an entity's parts.
const (
	entityUser   = "user"
	entityClient = "client-id"
	entityIP     = "ip"
)

// part returns the part of a type; nil if there is no such type.
func (e *quotaEntity) part(typ string) *quotaName {
	switch typ {
	case entityUser:
		return &e.user
	case entityClient:
		return &e.client
	case entityIP:
		return &e.ip
	}
	return nil
}

// parts returns how many parts the entity has.
func (e quotaEntity) parts() (n int) {
	for _, p := range []quotaName{e.user, e.client, e.ip} {
		if p.set {
			n++
		}
	}
	return n
}

// String is for messages, as Kafka writes an entity.
func (e quotaEntity) String() string {
	var parts []string
	for _, typ := range entityTypes {
		if p := e.part(typ); p.all {
			parts = append(parts, typ+"=null")
		} else if p.set {
			parts = append(parts, typ+"="+p.name)
		}
	}
	return "ClientQuotaEntity(entries={" + strings.Join(parts, ", ") + "})"
}

var entityTypes = []string{entityClient, entityIP, entityUser}

// quotaArea is the part of the store's settings where quotas are: one setting for each entity, called after a digest of it.
const quotaArea = "kafka/quota/"

// quotaForm is an entity's quotas on the disk. A part that is absent is not part of the entity; an empty name is the default.
type quotaForm struct {
	User   *string            `json:"user,omitempty"`
	Client *string            `json:"clientId,omitempty"`
	IP     *string            `json:"ip,omitempty"`
	Values map[string]float64 `json:"values"`
}

func (e quotaEntity) encode(values map[string]float64) []byte {
	text := func(n quotaName) *string {
		if !n.set {
			return nil
		}
		return &n.name
	}
	b, err := json.Marshal(quotaForm{text(e.user), text(e.client), text(e.ip), values})
	if err != nil {
		panic("BUG: " + err.Error()) // values are finite
	}
	return b
}

// quotaTable is all quotas. It is never changed, so any number of goroutines may read it.
type quotaTable struct {
	entities map[quotaEntity]map[string]float64
	limits   [quotaKinds]map[quotaEntity]float64 // nil: no quota of the kind
}

var errBadQuota = errors.New("client quota that this program cannot read")

func buildQuotas(stored []partition.Setting) (*quotaTable, error) {
	t := &quotaTable{entities: make(map[quotaEntity]map[string]float64, len(stored))}
	for _, s := range stored {
		var f quotaForm
		if err := json.Unmarshal(s.Value, &f); err != nil {
			return nil, fmt.Errorf("%w: %w", errBadQuota, err)
		}
		name := func(text *string) quotaName {
			if text == nil {
				return quotaName{}
			}
			return quotaName{set: true, all: *text == "", name: *text}
		}
		e := quotaEntity{name(f.User), name(f.Client), name(f.IP)}
		t.entities[e] = f.Values
		for key, v := range f.Values {
			kind := slices.Index(quotaKeys[:], key)
			if kind < 0 || !(v > 0) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%w: %s=%v", errBadQuota, key, v)
			}
			if t.limits[kind] == nil {
				t.limits[kind] = map[quotaEntity]float64{}
			}
			t.limits[kind][e] = v
		}
	}
	return t, nil
}

// limit returns the quota that holds for a user and a client id, and who shares it: all clients of the user, all users of the
// client id, or this client of this user alone. false: none does.
func (t *quotaTable) limit(kind quotaKind, user, client string) (bound float64, who quotaEntity, ok bool) {
	limits := t.limits[kind]
	if limits == nil {
		return 0, quotaEntity{}, false
	}
	u, c := named(user), named(client)
	for _, level := range [...]struct{ look, who quotaEntity }{ // the most specific first
		{quotaEntity{user: u, client: c}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: u, client: defaultName}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: u}, quotaEntity{user: u}},
		{quotaEntity{user: defaultName, client: c}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: defaultName, client: defaultName}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: defaultName}, quotaEntity{user: u}},
		{quotaEntity{client: c}, quotaEntity{client: c}},
		{quotaEntity{client: defaultName}, quotaEntity{client: c}},
	} {
		if bound, ok := limits[level.look]; ok {
			return bound, level.who, true
		}
	}
	return 0, quotaEntity{}, false
}

// limitOfAddress is limit for the rate of connections from an address.
func (t *quotaTable) limitOfAddress(ip string) (bound float64, ok bool) {
	limits := t.limits[quotaConnect]
	if limits == nil {
		return 0, false
	}
	if bound, ok = limits[quotaEntity{ip: named(ip)}]; !ok {
		bound, ok = limits[quotaEntity{ip: defaultName}]
	}
	return bound, ok
}
