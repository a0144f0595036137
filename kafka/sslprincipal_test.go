package kafka

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

func rawName(t testing.TB, parts ...[]pkix.AttributeTypeAndValue) []byte {
	var sequence pkix.RDNSequence
	for _, p := range parts {
		sequence = append(sequence, p)
	}
	raw, err := asn1.Marshal(sequence)
	require.NoError(t, err)
	return raw
}

func attribute(oid string, value any) pkix.AttributeTypeAndValue {
	for text, name := range map[string]asn1.ObjectIdentifier{
		"CN": {2, 5, 4, 3}, "C": {2, 5, 4, 6}, "ST": {2, 5, 4, 8}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "DC": {0, 9, 2342, 19200300, 100, 1, 25}, "serial": {2, 5, 4, 5},
	} {
		if text == oid {
			return pkix.AttributeTypeAndValue{Type: name, Value: value}
		}
	}
	panic(oid)
}

func TestDistinguishedNameIsWrittenAsJavaDoes(t *testing.T) {
	one := func(oid, value string) []pkix.AttributeTypeAndValue {
		return []pkix.AttributeTypeAndValue{attribute(oid, value)}
	}
	for want, raw := range map[string][]byte{
		"CN=alice,OU=Dev,O=Acme,ST=Bern,C=CH": rawName(t, one("C", "CH"), one("ST", "Bern"), one("O", "Acme"), one("OU", "Dev"), one("CN", "alice")),
		`CN=a\,b\+c\"d\\e\<f\>g\;h\=i\#`:      rawName(t, one("CN", `a,b+c"d\e<f>g;h=i#`)),
		`CN=\ x y\ `:                          rawName(t, one("CN", " x y ")),
		"CN=x+OU=y,DC=org":                    rawName(t, one("DC", "org"), []pkix.AttributeTypeAndValue{attribute("CN", "x"), attribute("OU", "y")}),
		"CN=müller":                           rawName(t, one("CN", "müller")),
		"2.5.4.5=#1303313233":                 rawName(t, one("serial", "123")),
		"":                                    rawName(t),
		"CN=one,CN=two":                       rawName(t, one("CN", "two"), one("CN", "one")),
	} {
		got, err := distinguishedName(raw)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range [][]byte{nil, {1}, {0x30, 3, 1}, append(rawName(t), 0)} {
		_, err := distinguishedName(bad)
		require.Error(t, err)
	}
}

// The examples of KIP-371 and of Kafka's documentation.
func TestPrincipalMappingRulesAreThoseOfKafka(t *testing.T) {
	const rules = `RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,
		RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,
		RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,
		DEFAULT`
	r, err := parsePrincipalRules(rules)
	require.NoError(t, err)
	require.Len(t, r.rules, 4)
	apply := func(r *principalRules, dn string) string {
		for _, rule := range r.rules {
			if name, ok := rule.apply(dn); ok {
				return name
			}
		}
		return "no rule"
	}
	for dn, want := range map[string]string{
		"CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown": "serviceuser",
		"CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown":          "adminuser@admin",
		"O=Acme,CN=Alice.B,C=CH": "alice.b",
		"OU=nobody":              "OU=nobody",
	} {
		require.Equal(t, want, apply(r, dn))
	}
	for text, cases := range map[string]map[string]string{
		"":                                  {"CN=a": "CN=a"},
		"DEFAULT":                           {"CN=a": "CN=a"},
		`RULE:^CN=(.*)$/$1/U`:               {"CN=a": "A", "OU=a": "no rule"},
		`RULE:CN=(\w+)/user-$1-$2/`:         {"CN=a": "user-a-$2", "CN=a,O=b": "no rule"},
		`RULE:CN=([^,]+),?.*/$12/, DEFAULT`: {"CN=a,O=b": "a2"},
		`RULE:^CN=(.*)\/(.*)$/$2\$$1/`:      {"CN=a/b": "b$a"},
		`RULE:.*/x/,`:                       {"CN=a": "x"},
	} {
		r, err := parsePrincipalRules(text)
		require.NoError(t, err, text)
		for dn, want := range cases {
			require.Equal(t, want, apply(r, dn), text)
		}
	}
	for _, bad := range []string{"RULE", "RULE:a", "RULE:a/b", "RULE:a/b/x", "RULE:(/b/", "default", "DEFAULT RULE:a/b/", "RULE:a/b/L DEFAULT"} {
		_, err := parsePrincipalRules(bad)
		require.ErrorIs(t, err, partition.ErrInvalidConfig, bad)
	}
	_, err = (&principalRules{}).name(rawName(t))
	require.ErrorContains(t, err, "no rule")
}

func FuzzDistinguishedName(f *testing.F) {
	f.Add([]byte{0x30, 0})
	f.Add([]byte{0x30, 13, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 3, 0x13, 2, 'a', ','})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if name, err := distinguishedName(raw); err == nil {
			_, _ = (&principalRules{rules: []principalRule{{}}}).name(raw)
			require.LessOrEqual(t, len(name), 16+16*len(raw))
		}
	})
}

func FuzzPrincipalRules(f *testing.F) {
	f.Add(`RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/, DEFAULT`, "CN=a")
	f.Add(`RULE:(a)(b)/$12$3\$/U`, "ab")
	f.Fuzz(func(t *testing.T, rules, dn string) {
		r, err := parsePrincipalRules(rules)
		if err != nil {
			return
		}
		require.NotEmpty(t, r.rules)
		for _, rule := range r.rules {
			rule.apply(dn)
		}
	})
}
