package probe

import (
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsName is a name as the library takes it, with the root's dot.
func dnsName(s string) (dnsmessage.Name, error) {
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	n, err := dnsmessage.NewName(s)
	if err != nil {
		return n, err
	}
	// NewName takes what cannot be packed: a label that is too long or empty.
	_, err = (&dnsmessage.Message{Questions: []dnsmessage.Question{{Name: n}}}).Pack()
	return n, err
}

// dnsQuery asks for the name servers of a name, the root by default: everybody who speaks DNS has an answer to that,
// also if it is only that he does not want to say.
func dnsQuery(id uint16, name string) ([]byte, error) {
	n, err := dnsName(name)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeNS, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// dnsAnswer reads the number of a well-formed answer.
func dnsAnswer(b []byte) (id uint16, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response {
		return 0, false
	}
	return h.ID, p.SkipAllQuestions() == nil
}
