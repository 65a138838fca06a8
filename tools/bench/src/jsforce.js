// Loads the companies and contacts of an export into an org by Bulk API 2.0, as a person with jsforce would, and remembers
// nothing of it. Prints one JSON document: milliseconds until the last result, and how many rows were created.
//
// Arguments: the org's URL, an access token, the directory of the export, and how the rows come:
//   export    read out of the export's own files, and given the destination's names
//   prepared  out of files beside them that were written so before; `prepare` writes those, and loads nothing

const fs = require('fs');
const path = require('path');
const jsforce = require('jsforce');
const { parse } = require('csv-parse');
const { stringify } = require('csv-stringify/sync');

const [url, accessToken, dir, how] = process.argv.slice(1);
const every = { pollInterval: 100, pollTimeout: 3_600_000 };
const address = (at) => ({
  address_street: `${at}Street`, address_city: `${at}City`, address_state: `${at}State`,
  address_postal_code: `${at}PostalCode`, address_country: `${at}Country`,
});
const loads = [
  ['Account', 'companies.csv', {
    id: 'Source_System_ID__c', name: 'Name', domain: 'Website', phone: 'Phone', industry: 'Industry',
    employee_count: 'NumberOfEmployees', annual_revenue: 'AnnualRevenue', description: 'Description', ...address('Billing'),
    cf_tier: 'Tier__c', created_at: 'Source_Created_At__c',
  }],
  ['Contact', 'contacts.csv', {
    id: 'Source_System_ID__c', primary_company_id: 'Account.Source_System_ID__c', first_name: 'FirstName',
    last_name: 'LastName', email: 'Email', phone: 'Phone', mobile_phone: 'MobilePhone', job_title: 'Title',
    department: 'Department', description: 'Description', ...address('Mailing'), cf_language: 'Preferred_language__c',
    cf_newsletter: 'Newsletter__c', created_at: 'Source_Created_At__c',
  }],
];
const prepared = (object) => path.join(dir, `prepared-${object}.csv`);

async function rows(file, names) {
  const all = [];
  for await (const row of fs.createReadStream(path.join(dir, file)).pipe(parse({ columns: true, bom: true }))) {
    all.push(Object.fromEntries(Object.entries(names).map(([from, to]) => [to, row[from]])));
  }
  return all;
}

async function main() {
  const conn = new jsforce.Connection({ instanceUrl: url, accessToken, version: '62.0' });
  const began = Date.now();
  let created = 0;
  for (const [object, file, names] of loads) {
    if (how === 'prepare') {
      fs.writeFileSync(prepared(object), stringify(await rows(file, names), { header: true }));
      continue;
    }
    const input = how === 'prepared' ? fs.createReadStream(prepared(object)) : await rows(file, names);
    const done = await conn.bulk2.loadAndWaitForResults({ object, operation: 'insert', input, ...every });
    if (done.failedResults.length > 0) throw new Error(`${object}: ${JSON.stringify(done.failedResults[0])}`);
    created += done.successfulResults.length;
  }
  console.log(JSON.stringify({ milliseconds: Date.now() - began, created }));
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
