package kafka

import (
	"slices"
	"strings"
	"testing"

	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func tableOf(t require.TestingT, limits map[quotaEntity]float64) *quotaTable {
	var stored []partition.Setting
	for e, v := range limits {
		stored = append(stored, partition.Setting{Key: e.key(), Value: e.encode(map[string]float64{"producer_byte_rate": v})})
	}
	table, err := buildQuotas(stored)
	require.NoError(t, err)
	return table
}

// Kafka's order of precedence, each level above all below it; and who shares the quota of that level.
func TestQuotaOfTheMostSpecificEntityHolds(t *testing.T) {
	u, c := named("u"), named("c")
	levels := []struct{ entity, who quotaEntity }{
		{quotaEntity{user: u, client: c}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: u, client: defaultName}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: u}, quotaEntity{user: u}},
		{quotaEntity{user: defaultName, client: c}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: defaultName, client: defaultName}, quotaEntity{user: u, client: c}},
		{quotaEntity{user: defaultName}, quotaEntity{user: u}},
		{quotaEntity{client: c}, quotaEntity{client: c}},
		{quotaEntity{client: defaultName}, quotaEntity{client: c}},
	}
	rapid.Check(t, func(t *rapid.T) {
		limits, first := map[quotaEntity]float64{}, -1
		for i, l := range levels {
			if rapid.Bool().Draw(t, "there") {
				limits[l.entity] = float64(i + 1)
				if first < 0 {
					first = i
				}
			}
		}
		limits[quotaEntity{user: named("other")}] = 99
		limits[quotaEntity{user: named("other"), client: c}] = 99
		bound, who, ok := tableOf(t, limits).limit(quotaProduce, "u", "c")
		require.Equal(t, first >= 0, ok)
		if ok {
			require.Equal(t, float64(first+1), bound)
			require.Equal(t, levels[first].who, who)
		}
		_, _, ok = tableOf(t, limits).limit(quotaConsume, "u", "c")
		require.False(t, ok, "another kind")
	})
}

func TestQuotaOfAddressesHasADefault(t *testing.T) {
	entities := []quotaEntity{{ip: named("10.0.0.1")}, {ip: defaultName}}
	var stored []partition.Setting
	for i, e := range entities {
		stored = append(stored, partition.Setting{Key: e.key(), Value: e.encode(map[string]float64{"connection_creation_rate": float64(i + 1)})})
	}
	table, err := buildQuotas(stored)
	require.NoError(t, err)
	for ip, want := range map[string]float64{"10.0.0.1": 1, "10.0.0.2": 2} {
		bound, ok := table.limitOfAddress(ip)
		require.True(t, ok)
		require.Equal(t, want, bound)
	}
}

// The bytes of quotas on the disk: readable for ever. An empty name is the default; an absent one is not part of the entity.
func TestQuotasOfTheFirstFormatAreStillRead(t *testing.T) {
	const stored = `{"user":"","clientId":"c","values":{"consumer_byte_rate":1048576,"request_percentage":12.5}}`
	table, err := buildQuotas([]partition.Setting{{Key: quotaArea + "x", Value: []byte(stored)}})
	require.NoError(t, err)
	e := quotaEntity{user: defaultName, client: named("c")}
	require.Equal(t, map[quotaEntity]map[string]float64{e: {"consumer_byte_rate": 1048576, "request_percentage": 12.5}}, table.entities)
	require.Equal(t, stored, string(e.encode(table.entities[e])))
	require.Equal(t, "ClientQuotaEntity(entries={client-id=c, user=null})", e.String())
	for _, bad := range []string{``, `[]`, `{"user":"u","values":{"producer_byte_rate":0}}`, `{"user":"u","values":{"share_rate":1}}`} {
		_, err := buildQuotas([]partition.Setting{{Key: quotaArea + "x", Value: []byte(bad)}})
		require.ErrorIs(t, err, errBadQuota, bad)
	}
}

// What DescribeClientQuotas selects, against looking at each part in turn.
func TestQuotaFilterSelectsAsDescribeClientQuotasDoes(t *testing.T) {
	draw := func(t *rapid.T, label string) quotaName {
		return rapid.SampledFrom([]quotaName{{}, named("a"), named("b"), defaultName}).Draw(t, label)
	}
	rapid.Check(t, func(t *rapid.T) {
		e := quotaEntity{user: draw(t, "user"), client: draw(t, "client")}
		f := quotaFilter{strict: rapid.Bool().Draw(t, "strict")}
		want, components := true, 0
		for _, typ := range []string{entityUser, entityClient} {
			has := *e.part(typ)
			switch rapid.IntRange(0, 2).Draw(t, "match "+typ) {
			case 1:
				name := rapid.SampledFrom([]quotaName{named("a"), named("b"), defaultName}).Draw(t, "exactly")
				*f.exact.part(typ) = name
				want = want && has == name
				components++
			case 2:
				f.any.part(typ).set = true
				want = want && has.set
				components++
			}
		}
		if f.strict && e.parts() != components {
			want = false
		}
		require.Equal(t, want, f.matches(e))
	})
}

func TestValuesOfQuotasAreHeldToTheirTypes(t *testing.T) {
	for _, c := range []struct {
		key   string
		value float64
		want  string
	}{
		{"producer_byte_rate", 1, ""}, {"producer_byte_rate", 0, "greater than 0"}, {"consumer_byte_rate", -1, "greater than 0"},
		{"producer_byte_rate", 1.5, "fractional"}, {"producer_byte_rate", 1e30, "too large for a LONG"}, {"request_percentage", 0.5, ""},
		{"request_percentage", 1e300, ""}, {"connection_creation_rate", 1e10, "too large for an INT"}, {"connection_creation_rate", 3, ""},
	} {
		text := badQuota(c.key, c.value)
		if c.want == "" {
			require.Empty(t, text)
		}
		require.Contains(t, text, c.want)
	}
	require.NotEmpty(t, badQuota("request_percentage", nan()))
}

func nan() float64 { zero := 0.0; return zero / zero }

func FuzzStoredQuota(f *testing.F) {
	f.Add([]byte(`{"user":"","clientId":"c","values":{"consumer_byte_rate":1048576,"request_percentage":12.5}}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		table, err := buildQuotas([]partition.Setting{{Key: quotaArea + "x", Value: stored}})
		if err != nil {
			require.ErrorIs(t, err, errBadQuota)
			return
		}
		for e, values := range table.entities {
			require.True(t, strings.HasPrefix(e.key(), quotaArea))
			for key, v := range values {
				require.True(t, slices.Contains(quotaKeys[:], key) && v > 0)
			}
			table.limit(quotaProduce, e.user.name, e.client.name)
		}
	})
}
