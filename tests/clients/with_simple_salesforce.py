"""Drives a sandbox through simple-salesforce, and prints what came back as one JSON document.

Arguments: a JSON document with url, token, ca_certificate, username, password, security_token, client_id, client_secret.
"""

import datetime
import json
import sys

import requests
from simple_salesforce import Salesforce, SalesforceLogin
from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceError

org = json.loads(sys.argv[1])
session = requests.Session()
session.verify = org["ca_certificate"]
# A certificate bundle from the environment would win over the one of the sandbox.
session.trust_env = False
sf = Salesforce(session_id=org["token"], instance_url=org["url"], session=session)
out = {}


def refused(call):
    """Returns the class, status and content of the error that a call ends with."""
    try:
        return {"class": None, "content": call()}
    except SalesforceError as error:
        return {"class": type(error).__name__, "status": error.status, "content": error.content}


# Sign in, as far as the client lets one choose the host.
token, host = SalesforceLogin(
    username=org["username"],
    password=org["password"],
    security_token=org["security_token"],
    scratch_url=org["url"],
    session=session,
)
out["login"] = {"works": Salesforce(session_id=token, instance=host, session=session).is_sandbox(), "host": host}
try:
    SalesforceLogin(
        username=org["username"], password="wrong", security_token="", scratch_url=org["url"], session=session
    )
    out["bad_login"] = None
except SalesforceAuthenticationFailed as error:
    out["bad_login"] = {"code": error.code, "message": error.message}

# What there is.
out["describe"] = sorted(entry["name"] for entry in sf.describe()["sobjects"])
out["limits"] = sf.limits()["DailyApiRequests"]
out["api_usage"] = sf.api_usage["api-usage"].used
out["metadata"] = sf.Account.metadata()["objectDescribe"]["keyPrefix"]
out["fields"] = sorted(field["name"] for field in sf.Account.describe()["fields"])
out["userinfo"] = sf.oauth2("userinfo")

# Rows.
account = sf.Account.create({"Name": "Client Account", "Industry": "Media"})
out["create"] = account
out["update"] = sf.Account.update(account["id"], {"Name": "Client Account 2"})
out["get"] = sf.Account.get(account["id"])
contact = {"LastName": "Upsert", "AccountId": account["id"]}
out["upserts"] = [sf.Contact.upsert("Email/upsert%40example.com", contact) for _ in range(2)]
out["get_by_custom_id"] = sf.Contact.get_by_custom_id("Email", "upsert@example.com")["LastName"]
now = datetime.datetime.now(datetime.timezone.utc)
hour, minutes = datetime.timedelta(hours=1), datetime.timedelta(minutes=2)
out["updated"] = sf.Account.updated(now - hour, now + minutes)
doomed = sf.Account.create({"Name": "Doomed"})["id"]
out["delete"] = sf.Account.delete(doomed)
out["deleted"] = [row["id"] for row in sf.Account.deleted(now - hour, now + minutes)["deletedRecords"]]
out["doomed"] = doomed

# Collections.
rows = [{"attributes": {"type": "Lead"}, "LastName": f"L{n}", "Company": "C"} for n in range(200)]
answers = sf.restful("composite/sobjects", method="POST", data=json.dumps({"allOrNone": False, "records": rows}))
lead_ids = [answer["id"] for answer in answers]
out["collection"] = len(lead_ids)
for first in range(200, 2200, 200):
    rows = [{"attributes": {"type": "Lead"}, "LastName": f"L{n}", "Company": "C"} for n in range(first, first + 200)]
    sf.restful("composite/sobjects", method="POST", data=json.dumps({"records": rows}))
body = json.dumps({"ids": lead_ids[:2] + ["00Q000000000zzz"], "fields": ["LastName"]})
out["retrieve"] = sf.restful("composite/sobjects/Lead", method="POST", data=body)
out["collection_delete"] = sf.restful(
    "composite/sobjects", params={"ids": ",".join(lead_ids[:2]), "allOrNone": "true"}, method="DELETE"
)

# Queries.
out["query_all"] = len(sf.query_all("SELECT Id FROM Lead")["records"])
out["query_deleted"] = sf.query("SELECT COUNT() FROM Lead", include_deleted=True)["totalSize"]
out["relation"] = sf.query("SELECT Id, Account.Name FROM Contact WHERE Email = 'upsert@example.com'")["records"][0]
out["children"] = sf.query(
    f"SELECT Name, (SELECT LastName FROM Contacts) FROM Account WHERE Id = '{account['id']}'"
)["records"][0]
out["search"] = sf.search("FIND {Client} IN NAME FIELDS RETURNING Account(Id, Name)")
out["quick_search"] = len(sf.quick_search("Upsert")["searchRecords"])

# Bulk API 1.0, in JSON.
bulk = sf.bulk.Contact
out["bulk_insert"] = bulk.insert(
    [{"LastName": "B0", "Email": "b0@example.com"}, {"FirstName": "Nameless"}, {"LastName": "B2", "Nope": 1}],
    batch_size=2,
    use_serial=True,
)
first = out["bulk_insert"][0]["id"]
out["bulk_update"] = bulk.update([{"Id": first, "FirstName": "Updated"}])
out["bulk_upsert"] = bulk.upsert(
    [{"Email": "b0@example.com", "LastName": "B0 again"}, {"Email": "b9@example.com", "LastName": "B9"}], "Email"
)
out["bulk_query"] = bulk.query("SELECT Id, LastName, Account.Name, CreatedDate FROM Contact WHERE LastName LIKE 'B%'")
out["bulk_delete"] = bulk.delete([{"Id": first}])
out["bulk_query_all"] = bulk.query_all(f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{first}'")
out["bulk_detailed"] = bulk.insert([{"LastName": "Detailed"}], include_detailed_results=True)
out["bulk_errors"] = [
    refused(lambda: sf.bulk.Nothing.insert([{"Name": "x"}])),
    refused(lambda: bulk.hard_delete([{"Id": first}])),
]

# Bulk API 2.0.
bulk2 = sf.bulk2.Contact
rows = [{"LastName": f"Two {n}", "Email": f"two{n}@example.com"} for n in range(3)]
jobs = bulk2.insert(records=rows + [{"LastName": "", "Email": "x@y.zz"}], wait=0.1)
out["bulk2_insert"] = jobs
job = jobs[0]["job_id"]
out["bulk2_results"] = {
    "successful": bulk2.get_successful_records(job),
    "failed": bulk2.get_failed_records(job),
    "unprocessed": bulk2.get_unprocessed_records(job),
}
out["bulk2_upsert"] = bulk2.upsert(
    records=[{"LastName": "Two again", "Email": "two0@example.com"}], external_id_field="Email", wait=0.1
)
out["bulk2_query"] = list(bulk2.query("SELECT Id, LastName FROM Contact WHERE LastName LIKE 'Two%'", max_records=2, wait=0.1))
ids = [row["Id"] for row in sf.query("SELECT Id FROM Contact WHERE LastName = 'Two again'")["records"]]
out["bulk2_delete"] = bulk2.delete(records=[{"Id": identifier} for identifier in ids], wait=0.1)

# Composite calls.
base = f"/services/data/v{sf.sf_version}"
body = {
    "allOrNone": True,
    "compositeRequest": [
        {"method": "POST", "url": f"{base}/sobjects/Account", "referenceId": "a", "body": {"Name": "Composite"}},
        {
            "method": "POST",
            "url": f"{base}/sobjects/Contact",
            "referenceId": "c",
            "body": {"LastName": "Composite", "AccountId": "@{a.id}"},
        },
        {"method": "GET", "url": f"{base}/query?q=SELECT Account.Name FROM Contact WHERE Id = '@{{c.id}}'", "referenceId": "q"},
    ],
}
out["composite"] = sf.restful("composite", method="POST", data=json.dumps(body))
body["compositeRequest"][1]["body"] = {"AccountId": "@{a.id}"}
out["composite_failed"] = sf.restful("composite", method="POST", data=json.dumps(body))
out["composite_accounts"] = sf.query("SELECT COUNT() FROM Account WHERE Name = 'Composite'")["totalSize"]

# Classes of errors.
out["errors"] = {
    "query": refused(lambda: sf.query("SELECT Nope FROM Account")),
    "row": refused(lambda: sf.Account.create({})),
    "unknown": refused(lambda: sf.Nothing.create({"Name": "x"})),
    "gone": refused(lambda: sf.Account.get(doomed)),
    "several": refused(lambda: sf.User.get_by_custom_id("Email", "twin@example.com")),
    "expired": refused(
        lambda: Salesforce(session_id="00D!wrong", instance_url=org["url"], session=session).query("SELECT Id FROM Account")
    ),
}
json.dump(out, sys.stdout)
