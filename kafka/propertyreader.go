package kafka

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// brokerProperty finds a broker's property, also one with the prefix of a listener (KIP-103): nil if there is none.
func brokerProperty(name string) *property {
	all := brokerProperties().byName
	if p := all[name]; p != nil {
		return p
	}
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return nil
	}
	_, rest, ok = strings.Cut(rest, ".")
	if !ok {
		return nil
	}
	if p := all[rest]; p != nil {
		return p
	}
	if _, rest, ok = strings.Cut(rest, "."); ok { // a mechanism
		return all[rest]
	}
	return nil
}

// propertyReader reads validated properties, with their defaults.
type propertyReader map[string]string

func (r propertyReader) text(name string) string {
	if v, ok := r[name]; ok {
		return v
	}
	if p := brokerProperties().byName[name]; p != nil && p.value != nil {
		return *p.value
	}
	return ""
}

func (r propertyReader) is(name string) bool { return strings.EqualFold(r.text(name), "true") }

func (r propertyReader) number(name string) int64 {
	n, _ := strconv.ParseInt(r.text(name), 10, 64) // validated; a null default gives 0
	return n
}

func (r propertyReader) millis(name string) time.Duration {
	return durationOf(r.number(name), time.Millisecond)
}

// durationOf multiplies without overflow.
func durationOf(n int64, unit time.Duration) time.Duration {
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	if n < math.MinInt64/int64(unit) {
		return math.MinInt64
	}
	return time.Duration(n) * unit
}
